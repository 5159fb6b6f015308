import { type DenseConfig, type ModelConfig, type MoeConfig, softmaxTopK } from '../model/config.ts'
import { VOCAB_SIZE } from './tokenizer.ts'

export interface Preset {
  /** One sentence for help and the model card. */
  summary: string
  config: ModelConfig
  /** How experts are kept busy: by a loss, or by a bias on choosing (DeepSeek-V3). Dense models need neither. */
  balancing: 'loss' | 'bias'
}

const BOS = 1
const EOS = 2
const LAYERS = 4

/** What all presets share: width, attention and vocabulary. */
const DECODER: Omit<ModelConfig, 'family' | 'layers'> = {
  vocabSize: VOCAB_SIZE,
  hiddenSize: 128,
  maxPositionEmbeddings: 1024,
  normEps: 1e-5,
  tieWordEmbeddings: false,
  attention: { numHeads: 4, numKeyValueHeads: 2, headDim: 32, bias: false, slidingWindow: null },
  rope: { theta: 10000, scaling: { type: 'default' } },
  bosTokenId: BOS,
  eosTokenIds: [EOS],
}

/** H of one expert, E and K of `moe`; the twins follow from them. */
const EXPERT = 256
const EXPERTS = 8
const TOP_K = 2

/** Fine-grained experts: shared and chosen ones together are about as wide as the two of `moe`. */
const FINE_EXPERT = 104
const FINE_EXPERTS = 16
const FINE_TOP_K = 4

const dense = (intermediateSize: number): DenseConfig => ({ kind: 'dense', intermediateSize, bias: false })

const mixture: MoeConfig = {
  kind: 'moe',
  intermediateSize: EXPERT,
  router: softmaxTopK(EXPERTS, TOP_K),
}

const fineMixture: MoeConfig = {
  kind: 'moe',
  intermediateSize: FINE_EXPERT,
  router: {
    ...softmaxTopK(FINE_EXPERTS, FINE_TOP_K),
    scoring: 'sigmoid',
    normEpsilon: 1e-20,
    scoreBias: true,
  },
  sharedExpert: { intermediateSize: FINE_EXPERT },
}

export const PRESETS = {
  moe: {
    summary: `Mixtral architecture, ${EXPERTS} experts, top-${TOP_K}`,
    balancing: 'loss',
    config: { ...DECODER, family: 'mixtral', layers: new Array(LAYERS).fill(mixture) },
  },
  'dense-active': {
    summary: 'dense, with the parameters that one token of `moe` uses',
    balancing: 'loss',
    config: { ...DECODER, family: 'llama', layers: new Array(LAYERS).fill(dense(TOP_K * EXPERT)) },
  },
  'dense-total': {
    summary: 'dense, with as many parameters as `moe` has in all',
    balancing: 'loss',
    config: { ...DECODER, family: 'llama', layers: new Array(LAYERS).fill(dense(EXPERTS * EXPERT)) },
  },
  deepseek: {
    summary: `DeepSeek-V3's routing: ${FINE_EXPERTS} fine-grained experts, top-${FINE_TOP_K}, and a shared one`,
    balancing: 'bias',
    config: {
      ...DECODER,
      family: 'glm4_moe',
      attention: { ...DECODER.attention, outputBias: false, qkNorm: false },
      rope: { ...DECODER.rope, rotaryDim: DECODER.attention.headDim / 2 },
      layers: [dense(TOP_K * EXPERT), ...new Array(LAYERS - 1).fill(fineMixture)],
    },
  },
} satisfies Record<string, Preset>

export type PresetName = keyof typeof PRESETS
export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[]
