import { createRequire } from 'node:module'
import { runnableConfig } from '../families/index.ts'
import type { ModelConfig } from '../model/config.ts'
import { SPECIAL_TOKENS, VOCAB_SIZE } from './tokenizer.ts'

export interface Preset {
  /** One sentence for help and the model card. */
  summary: string
  config: ModelConfig
}

/** Those of the models that come with the package, which are compared with each other. */
export const PRESET_NAMES = ['moe', 'dense-active', 'dense-total', 'deepseek'] as const
export type PresetName = (typeof PRESET_NAMES)[number]

export const SIZE_NAMES = ['full', 'small'] as const
/** `full` is what is shipped; `small`, a quarter as wide, trains in minutes, so that a comparison can be repeated with several seeds. */
export type SizeName = (typeof SIZE_NAMES)[number]

/** What all presets share, as a config.json has it: layers, width of heads and vocabulary, in all sizes. */
const SHARED = {
  vocab_size: VOCAB_SIZE,
  num_hidden_layers: 4,
  head_dim: 32, // narrower ones vLLM does not take
  max_position_embeddings: 1024,
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
  bos_token_id: SPECIAL_TOKENS.indexOf('<s>'),
  eos_token_id: SPECIAL_TOKENS.indexOf('</s>'),
}
const WIDTHS: Record<SizeName, object> = {
  full: { hidden_size: 128, num_attention_heads: 4, num_key_value_heads: 2 },
  small: { hidden_size: 32, num_attention_heads: 2, num_key_value_heads: 1 },
}

/** What each preset adds to that, in all sizes and in each; tests/train/presets.test.ts has what the widths come from. */
const PRESETS: Record<PresetName, Omit<Preset, 'config'> & { config: object } & Record<SizeName, object>> =
  createRequire(import.meta.url)('./presets.json')

/** The preset of a name in a size. */
export function presetOf({ preset, size }: { preset: PresetName; size: SizeName }): Preset {
  const { summary, config, [size]: own } = PRESETS[preset]
  const json = { ...SHARED, ...WIDTHS[size], ...config, ...own }
  return { summary, config: runnableConfig(json, `preset ${preset}`).config }
}
