import type { DenseConfig, ModelConfig, MoeConfig } from '../model/config.ts'

/** Parameters of a whole model by part. */
export interface ParameterParts {
  /** Input table [V, D]. */
  embedding: number
  attention: number
  router: number
  /** All experts of all mixture layers. */
  experts: number
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

/** Counts weights from shapes alone. Left out: nothing that is stored, except a router's choosing bias [E]. */
export function countParameters(config: ModelConfig): ParameterCount {
  const { vocabSize: V, hiddenSize: D, layers } = config
  const moe = moeLayers(config)
  const parts: ParameterParts = {
    embedding: V * D,
    attention: layers.length * attentionParameters(config),
    router: sum(moe.map(({ router }) => D * router.numExperts)),
    experts: sum(moe.map((layer) => layer.router.numExperts * expertParameters(D, layer.intermediateSize))),
    dense: sum(layers.map((layer) => (layer.kind === 'dense' ? denseParameters(D, layer) : 0))),
    norms: (2 * layers.length + 1) * D,
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
  const { numHeads, numKeyValueHeads, headDim, bias } = attention
  const qkv = (numHeads + 2 * numKeyValueHeads) * headDim
  return D * qkv + numHeads * headDim * D + (bias ? qkv + D : 0)
}

function sum(values: number[]): number {
  return values.reduce((a, b) => a + b, 0)
}
