import type { DenseConfig, ModelConfig, MoeConfig } from '../model/config.ts'

/** Parameters of a whole model by part. */
export interface ParameterParts {
  /** Input table [V, D]. */
  embedding: number
  attention: number
  router: number
  /** All routed experts of all mixture layers. */
  experts: number
  sharedExperts: number
  /** Feed-forward of layers without experts. */
  dense: number
  norms: number
  /** 0 when tied: the input table serves. */
  unembedding: number
}

/**
 * Owners count differently, so both: with everything, and without the input table and the unembedding (which is what
 * is usually printed as "non-embedding").
 */
export interface ParameterCount {
  parts: ParameterParts
  total: number
  /** What one token uses: K of E experts, everything else in full. */
  active: number
  totalWithoutEmbeddings: number
  activeWithoutEmbeddings: number
}

/** Counts weights from shapes alone: every number that a checkpoint of this config holds. */
export function countParameters(config: ModelConfig): ParameterCount {
  const { vocabSize: V, hiddenSize: D, layers } = config
  const moe = moeLayers(config)
  const parts: ParameterParts = {
    embedding: V * D,
    attention: layers.length * attentionParameters(config),
    router: sum(moe.map(({ router }) => router.numExperts * (D + (router.scoreBias ? 1 : 0)))),
    experts: sum(moe.map((layer) => layer.router.numExperts * expertParameters(D, layer.intermediateSize))),
    sharedExperts: sum(moe.map((layer) => expertParameters(D, layer.sharedExpert?.intermediateSize ?? 0))),
    dense: sum(layers.map((layer) => (layer.kind === 'dense' ? denseParameters(D, layer) : 0))),
    norms:
      (2 * layers.length + 1) * D +
      (config.attention.qkNorm ? 2 * layers.length * config.attention.headDim : 0),
    unembedding: config.tieWordEmbeddings ? 0 : V * D,
  }
  const idle = sum(
    moe.map(
      ({ router, intermediateSize }) =>
        (router.numExperts - router.topK) * expertParameters(D, intermediateSize),
    ),
  )
  const total = sum(Object.values(parts))
  const embeddings = parts.embedding + parts.unembedding
  return {
    parts,
    total,
    active: total - idle,
    totalWithoutEmbeddings: total - embeddings,
    activeWithoutEmbeddings: total - idle - embeddings,
  }
}

/** gate and up [D, H], down [H, D]. */
export function expertParameters(D: number, H: number): number {
  return 3 * D * H
}

export function moeLayers(config: ModelConfig): MoeConfig[] {
  return config.layers.filter((layer) => layer.kind === 'moe')
}

function denseParameters(D: number, { intermediateSize: H, bias }: DenseConfig): number {
  return expertParameters(D, H) + (bias ? 2 * H + D : 0)
}

/** Queries, keys and values [D, (Nq + 2 Nk) d], output [Nq d, D], and their biases where there are any. */
function attentionParameters({ hiddenSize: D, attention }: ModelConfig): number {
  const { numHeads, numKeyValueHeads, headDim, bias, outputBias } = attention
  const qkv = (numHeads + 2 * numKeyValueHeads) * headDim
  const biases = bias ? qkv + (outputBias === false ? 0 : D) : 0
  return D * qkv + numHeads * headDim * D + biases
}

function sum(values: number[]): number {
  return values.reduce((a, b) => a + b, 0)
}
