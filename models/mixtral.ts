import { type LayerConfig, type ModelConfig, softmaxTopK } from '../src/model/config.ts'

/** The sizes that the Mixtrals of this folder differ in. */
export interface MixtralSizes {
  D: number
  H: number
  layers: number
  heads: number
  keyValueHeads: number
  E: number
  K: number
  V: number
  positions: number
}

export function mixtralConfig(sizes: MixtralSizes): ModelConfig {
  const { D, H, layers, heads, keyValueHeads, E, K, V, positions } = sizes
  const layer: LayerConfig = {
    attention: {
      kind: 'grouped',
      numHeads: heads,
      numKeyValueHeads: keyValueHeads,
      headDim: D / heads,
      bias: false,
      slidingWindow: null,
      rope: { theta: 10000, scaling: { type: 'default' } },
    },
    feedForward: { kind: 'moe', intermediateSize: H, router: softmaxTopK(E, K) },
  }
  return {
    family: 'mixtral',
    vocabSize: V,
    hiddenSize: D,
    maxPositionEmbeddings: positions,
    normEps: 1e-5,
    tieWordEmbeddings: false,
    layers: new Array(layers).fill(layer),
    bosTokenId: 1,
    eosTokenIds: [2],
  }
}
