import { generateSample } from '../../src/corpus/index.ts'
import {
  type AttentionConfig,
  type DenseConfig,
  type ModelConfig,
  type MoeConfig,
  softmaxTopK,
} from '../../src/model/config.ts'
import { trainBpe } from '../../src/text/bpe.ts'
import { tokenizerOf } from '../../src/train/checkpoint.ts'
import { initWeights } from '../../src/train/initialize.ts'
import type { PresetName } from '../../src/train/presets.ts'
import { type TrainSettings, trainSettings } from '../../src/train/settings.ts'
import { generatedTexts } from '../../src/train/texts.ts'
import { SPECIAL_TOKENS } from '../../src/train/tokenizer.ts'
import { Trainer } from '../../src/train/trainer.ts'
import { groupedAttention } from '../helpers/attention.ts'

const V = 300

/** A byte-level tokenizer with few merges, trained in no time. */
export const tinyTokenizer = trainBpe(
  Array.from({ length: 40 }, (_, i) => generateSample(i % 2 ? 'story' : 'arithmetic', 'train', i, 1).text),
  { vocabSize: V, specialTokens: SPECIAL_TOKENS, individualDigits: true },
)

const dense: DenseConfig = { kind: 'dense', intermediateSize: 12, bias: false }
const moe: MoeConfig = { kind: 'moe', intermediateSize: 6, router: softmaxTopK(4, 2) }
const fine: MoeConfig = {
  kind: 'moe',
  intermediateSize: 6,
  router: {
    ...softmaxTopK(4, 2),
    scoring: 'sigmoid',
    normEpsilon: 1e-20,
    scalingFactor: 1.5,
    scoreBias: true,
  },
  sharedExpert: { intermediateSize: 6 },
}

/** D 8, two layers: small enough for finite differences. */
const base: Omit<ModelConfig, 'family' | 'layers'> = {
  vocabSize: V,
  hiddenSize: 8,
  maxPositionEmbeddings: 64,
  normEps: 1e-5,
  tieWordEmbeddings: false,
  bosTokenId: 1,
  eosTokenIds: [2],
}

const plain = groupedAttention()
const normed = groupedAttention({
  bias: true,
  outputBias: false,
  qkNorm: 'per-head',
  rope: { ...plain.rope, rotaryDim: 2 },
})

const latent: AttentionConfig = {
  kind: 'latent',
  numHeads: 2,
  queryRank: 6,
  keyValueRank: 4,
  nopeDim: 4,
  ropeDim: 2,
  valueDim: 4,
  bias: false,
  rope: { theta: plain.rope.theta, scaling: plain.rope.scaling, interleaved: true },
  scale: 6 ** -0.5,
  latentEps: 1e-6,
}
/** Of two groups of two experts one is chosen from. */
const grouped: MoeConfig = {
  ...fine,
  router: { ...fine.router, groupLimit: { groups: 2, keep: 1, score: 'sum-of-top-2' } },
}

function layers(attention: AttentionConfig, ...feedForwards: (DenseConfig | MoeConfig)[]) {
  return feedForwards.map((feedForward) => ({ attention, feedForward }))
}

/** One config of each family that is trained. */
export const TINY: Record<string, ModelConfig> = {
  mixtral: { ...base, family: 'mixtral', layers: layers(plain, moe, moe) },
  llama: { ...base, family: 'llama', tieWordEmbeddings: true, layers: layers(plain, dense, dense) },
  glm4_moe: { ...base, family: 'glm4_moe', layers: layers(normed, dense, fine) },
  deepseek_v3: { ...base, family: 'deepseek_v3', layers: layers(latent, dense, grouped) },
}

const PRESETS: Record<keyof typeof TINY, PresetName> = {
  mixtral: 'moe',
  llama: 'dense-active',
  glm4_moe: 'deepseek', // balanced by a bias as well
  deepseek_v3: 'deepseek',
}

export function tinyTrainer(family: keyof typeof TINY, settings: Partial<TrainSettings> = {}): Trainer {
  const all = trainSettings({
    preset: PRESETS[family],
    steps: 20,
    rows: 4,
    length: 24,
    executor: 'eager',
    ...settings,
  })
  const tokenizer = tokenizerOf(tinyTokenizer)
  return new Trainer(
    all,
    TINY[family],
    initWeights(TINY[family], all.seed),
    generatedTexts(all.seed),
    tokenizer,
  )
}
