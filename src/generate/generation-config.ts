import { z } from 'zod'
import { parseStrictJson } from '../checkpoint/json.ts'
import type { ModelFiles } from '../checkpoint/source.ts'
import { parseFields } from '../families/fields.ts'
import type { ModelConfig } from '../model/config.ts'
import type { GenerateOptions } from './types.ts'

export const GENERATION_CONFIG = 'generation_config.json'

/** Options that a file may give defaults for. */
export type DefaultOptions = Pick<
  GenerateOptions,
  'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty' | 'maxTokens' | 'stop'
>

/** What a model's generation_config.json says of generating. */
export interface GenerationConfig {
  /** Ids that end a text; null where it names none, and config.json's count. */
  eosTokenIds: number[] | null
  /** Defaults of `generate`. */
  options: DefaultOptions
  /** What would change the text and is not done here, by the file's names. */
  notFollowed: Record<string, unknown>
}

const tokenId = z.int().nonnegative()
const fields = z.looseObject({
  eos_token_id: z.union([tokenId, z.array(tokenId)]).nullish(),
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_k: z.int().nonnegative().nullish(),
  top_p: z.number().positive().max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
  max_new_tokens: z.int().positive().nullish(),
  stop_strings: z.union([z.string().min(1), z.array(z.string().min(1))]).nullish(),
})

/** Of transformers' GenerationConfig, what an absent value is when it samples. */
const WHEN_SAMPLING = { temperature: 1, topK: 50 }

/** Fields that change which tokens come, with the value besides null that changes nothing. */
const NOT_FOLLOWED: Record<string, unknown> = {
  num_beams: 1,
  penalty_alpha: 0,
  dola_layers: null,
  typical_p: 1,
  top_h: null,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
  no_repeat_ngram_size: 0,
  encoder_repetition_penalty: 1,
  encoder_no_repeat_ngram_size: 0,
  bad_words_ids: null,
  force_words_ids: null,
  constraints: null,
  sequence_bias: null,
  suppress_tokens: null,
  begin_suppress_tokens: null,
  forced_bos_token_id: null,
  forced_eos_token_id: null,
  min_length: 0,
  min_new_tokens: 0,
  exponential_decay_length_penalty: null,
  guidance_scale: 1,
  watermarking_config: null,
  token_healing: false,
  remove_invalid_values: false,
}

/**
 * The generation_config.json of a model's directory; null where there is none. As transformers: without `do_sample` the most likely
 * token is taken, whatever the temperature; with it an absent temperature is 1, and an absent top_k 50.
 * @throws CheckpointError or ConfigError naming file, field and value
 */
export function readGenerationConfig(files: ModelFiles): GenerationConfig | null {
  if (!files.has(GENERATION_CONFIG)) return null
  const file = files.at(GENERATION_CONFIG)
  const c = parseFields(fields, parseStrictJson(`${file}:`, files.bytes(GENERATION_CONFIG)), file)
  const sampling = c.do_sample === true ? WHEN_SAMPLING : null
  const isSaid = c.do_sample != null || c.temperature != null
  return {
    eosTokenIds: listed(c.eos_token_id),
    options: given({
      temperature: sampling ? (c.temperature ?? sampling.temperature) : isSaid ? 0 : null,
      topK: c.top_k ?? sampling?.topK,
      topP: c.top_p,
      minP: c.min_p,
      repetitionPenalty: c.repetition_penalty,
      maxTokens: c.max_new_tokens,
      stop: listed(c.stop_strings),
    }),
    notFollowed: Object.fromEntries(
      Object.entries(c).filter(
        ([name, value]) =>
          Object.hasOwn(NOT_FOLLOWED, name) && value !== null && value !== NOT_FOLLOWED[name],
      ),
    ),
  }
}

/** The config with the ids that end a text when generating. */
export function endingAs(config: ModelConfig, generation: GenerationConfig | null): ModelConfig {
  return { ...config, eosTokenIds: generation?.eosTokenIds ?? config.eosTokenIds }
}

/** Where an option's value is from. */
export type OptionSource = 'option' | typeof GENERATION_CONFIG | 'default'

const DEFAULTS = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, maxTokens: 64, stop: [] }
export const DEFAULT_MAX_TOKENS = DEFAULTS.maxTokens

export type Settings = {
  [Name in keyof DefaultOptions]-?: { value: NonNullable<DefaultOptions[Name]>; source: OptionSource }
}

/** What counts of each option: what is given, else what the model's file says, else the default; and which of the three. */
export function settingsOf(options: DefaultOptions, generation: GenerationConfig | null): Settings {
  const entries = Object.entries(DEFAULTS).map(([key, value]) => {
    const name = key as keyof DefaultOptions
    if (options[name] !== undefined) return [name, { value: options[name], source: 'option' }]
    const said = generation?.options[name]
    return [
      name,
      said === undefined ? { value, source: 'default' } : { value: said, source: GENERATION_CONFIG },
    ]
  })
  return Object.fromEntries(entries) as Settings
}

function listed<T>(value: T | T[] | null | undefined): T[] | null {
  return value == null ? null : Array.isArray(value) ? value : [value]
}

/** Without what is absent or null. */
function given(options: { [Name in keyof DefaultOptions]: DefaultOptions[Name] | null }): DefaultOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value != null))
}
