import {
  type AttentionConfig,
  type DenseConfig,
  type GroupedAttention,
  type ModelConfig,
  type MoeConfig,
  type RopeConfig,
  sigmoidTopK,
  softmaxTopK,
} from '../model/config.ts'
import { VOCAB_SIZE } from './tokenizer.ts'

export interface Preset {
  /** One sentence for help and the model card. */
  summary: string
  config: ModelConfig
  /** How experts are kept busy: by a loss, or by a bias on choosing (DeepSeek-V3). Dense models need neither. */
  balancing: 'loss' | 'bias'
}

export const PRESET_NAMES = ['moe', 'dense-active', 'dense-total', 'deepseek'] as const
export type PresetName = (typeof PRESET_NAMES)[number]

export const SIZE_NAMES = ['full', 'small'] as const
/** `full` is what is shipped; `small` trains in minutes, so that a comparison can be repeated with several seeds. */
export type SizeName = (typeof SIZE_NAMES)[number]

/** What a size decides. Layers, heads, E, K and the vocabulary are the same in all. */
interface Widths {
  /** D. */
  hidden: number
  head: number
  /** H of one expert of `moe`; the dense twins follow from it. */
  expert: number
  /** H of a fine-grained expert: the shared and the chosen ones together are about as wide as the two of `moe`. */
  fineExpert: number
}

const WIDTHS: Record<SizeName, Widths> = {
  full: { hidden: 128, head: 32, expert: 256, fineExpert: 104 },
  small: { hidden: 64, head: 16, expert: 128, fineExpert: 52 },
}

const BOS = 1
const EOS = 2
const LAYERS = 4
const EXPERTS = 8
const TOP_K = 2
const FINE_EXPERTS = 16
const FINE_TOP_K = 4

/** The preset of a name in a size. */
export function presetOf({ preset, size }: { preset: PresetName; size: SizeName }): Preset {
  return PRESETS[preset](WIDTHS[size])
}

const PRESETS: Record<PresetName, (widths: Widths) => Preset> = {
  moe: (widths) => ({
    summary: `Mixtral architecture, ${EXPERTS} experts, top-${TOP_K}`,
    balancing: 'loss',
    config: decoder('mixtral', widths, attention(widths), new Array(LAYERS).fill(mixture(widths))),
  }),
  'dense-active': (widths) => ({
    summary: 'dense, with the parameters that one token of `moe` uses',
    balancing: 'loss',
    config: denseDecoder(widths, TOP_K * widths.expert),
  }),
  'dense-total': (widths) => ({
    summary: 'dense, with as many parameters as `moe` has in all',
    balancing: 'loss',
    config: denseDecoder(widths, EXPERTS * widths.expert),
  }),
  deepseek: (widths) => ({
    summary: `DeepSeek-V3's routing: ${FINE_EXPERTS} fine-grained experts, top-${FINE_TOP_K}, and a shared one`,
    balancing: 'bias',
    config: deepseek(widths),
  }),
}

/** What all presets of a size share: width and vocabulary, and the attention of their layers. */
function decoder(
  family: string,
  { hidden }: Widths,
  attention: AttentionConfig,
  feedForwards: (DenseConfig | MoeConfig)[],
): ModelConfig {
  return {
    family,
    vocabSize: VOCAB_SIZE,
    hiddenSize: hidden,
    maxPositionEmbeddings: 1024,
    normEps: 1e-5,
    tieWordEmbeddings: false,
    layers: feedForwards.map((feedForward) => ({ attention, feedForward })),
    bosTokenId: BOS,
    eosTokenIds: [EOS],
  }
}

function attention({ head }: Widths): GroupedAttention & { rope: RopeConfig } {
  return {
    kind: 'grouped',
    numHeads: 4,
    numKeyValueHeads: 2,
    headDim: head,
    bias: false,
    slidingWindow: null,
    rope: { theta: 10000, scaling: { type: 'default' } },
  }
}

function denseDecoder(widths: Widths, intermediateSize: number): ModelConfig {
  return decoder('llama', widths, attention(widths), new Array(LAYERS).fill(dense(intermediateSize)))
}

function deepseek(widths: Widths): ModelConfig {
  const base = attention(widths)
  const rope = { ...base.rope, rotaryDim: widths.head / 2 }
  return decoder('glm4_moe', widths, { ...base, outputBias: false, rope }, [
    dense(TOP_K * widths.expert),
    ...new Array(LAYERS - 1).fill(fineMixture(widths)),
  ])
}

function dense(intermediateSize: number): DenseConfig {
  return { kind: 'dense', intermediateSize, bias: false }
}

function mixture({ expert }: Widths): MoeConfig {
  return { kind: 'moe', intermediateSize: expert, router: softmaxTopK(EXPERTS, TOP_K) }
}

function fineMixture({ fineExpert }: Widths): MoeConfig {
  return {
    kind: 'moe',
    intermediateSize: fineExpert,
    router: sigmoidTopK(FINE_EXPERTS, FINE_TOP_K),
    sharedExpert: { intermediateSize: fineExpert },
  }
}
