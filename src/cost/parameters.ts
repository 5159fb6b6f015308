import type { ModelShape } from '../model/config.ts'
import { ExpertStack, MODEL_PARTS, type ModelPart, type TensorSpec } from '../model/tensor-spec.ts'
import { leaves } from '../model/tree.ts'
import { weightTable } from '../model/weight-table.ts'
import { sum } from '../sums.ts'

/** Parameters of a whole model by part; the unembedding's are 0 when tied, as the input table serves. */
export type ParameterParts = Record<ModelPart, number>

export type ParameterCount = ReturnType<typeof countParameters>

/**
 * Counts weights from shapes alone: every number that a checkpoint of this model holds. Left out: heads for multi-token
 * prediction, vision and audio encoders. Owners count differently, so both: with everything, and without the input table and the
 * unembedding (which is what is usually printed as "non-embedding").
 */
export function countParameters(model: ModelShape) {
  const tensors = tensorsOf(model)
  const parts = partsOf(tensors, ({ count }) => count)
  const total = sum(Object.values(parts))
  const active = sum(Object.values(partsOf(tensors, ({ chosen }) => chosen)))
  const embeddings = parts.embedding + parts.unembedding
  return {
    parts,
    total,
    /** What one token uses: K of E experts, everything else in full. */
    active,
    totalWithoutEmbeddings: total - embeddings,
    activeWithoutEmbeddings: active - embeddings,
  }
}

/**
 * What one token uses, by part; `used` may count other experts of each stack than those that a token goes to, and `sizeOf` something
 * else of a tensor than its numbers.
 */
export function parameterParts(
  model: ModelShape,
  used: (stack: ExpertStack) => number = ({ chosen }) => chosen,
  sizeOf?: (spec: TensorSpec) => number,
): ParameterParts {
  return partsOf(tensorsOf(model), used, sizeOf)
}

type Tensors = (TensorSpec | ExpertStack)[]

function tensorsOf(model: ModelShape): Tensors {
  return leaves<TensorSpec | ExpertStack>(weightTable(model)).map(([, leaf]) => leaf)
}

function partsOf(
  tensors: Tensors,
  used: (stack: ExpertStack) => number,
  sizeOf: (spec: TensorSpec) => number = ({ size }) => size,
): ParameterParts {
  const parts = Object.fromEntries(MODEL_PARTS.map((part) => [part, 0])) as ParameterParts
  for (const leaf of tensors) {
    const isStack = leaf instanceof ExpertStack
    const specs = isStack ? leaves<TensorSpec>(leaf.each(0)).map(([, spec]) => spec) : [leaf]
    parts[leaf.part] += (isStack ? used(leaf) : 1) * sum(specs.map(sizeOf))
  }
  return parts
}

/** gate and up [D, H], down [H, D]. */
export function expertParameters(D: number, H: number): number {
  return 3 * D * H
}

/** The same model with every expert of every mixture chosen (shape and total stay, all of it is active). */
export function everyExpert(model: ModelShape): ModelShape {
  const every = <M extends { numExperts: number }>(mixture: M) => ({ ...mixture, topK: mixture.numExperts })
  const layers = model.layers.map(({ attention, feedForward: second }) => ({
    attention: attention.kind === 'mixture' ? every(attention) : attention,
    feedForward: second.kind === 'moe' ? { ...second, router: every(second.router) } : second,
  }))
  return { ...model, layers }
}
