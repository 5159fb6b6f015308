import * as tf from '@tensorflow/tfjs-core'
import { watchProducts } from '../backend/products.ts'
import type { ModelConfig } from '../model/config.ts'
import { type ExpertStack, TensorSpec } from '../model/tensor-spec.ts'
import { MoeModel } from '../model/transformer.ts'
import { leaves } from '../model/tree.ts'
import { tensorSpecs, type WeightTable, weightTable } from '../model/weight-table.ts'
import type { ModelWeights } from '../model/weights.ts'
import { sum } from '../sums.ts'
import type { ErrorFactor } from './gptq.ts'
import { Moments, momentNumbers } from './moments.ts'
import { eachStored, packWeights } from './pack.ts'
import type { StoredValues } from './save.ts'

/** Token ids of texts, each within the model's positions. */
export type Texts = readonly (readonly number[])[]

/** How a model's matrices are rounded. */
export interface Rounding {
  isRounded(spec: TensorSpec): boolean
  /** Rounds the matrices of a tensor, whose inputs are null where the texts gave it none; stops after each part. */
  round(spec: TensorSpec, inputs: ErrorFactor | null): Iterable<unknown>
  /** The values of what was rounded until now, and of all else as it was. */
  rounded: StoredValues
}

/** Told the rows that a tensor was multiplied with, for as long as the call lasts. */
type Seen = (spec: TensorSpec, rows: Float32Array) => void

/**
 * Layer by layer: what texts give to a matrix decides how it is rounded, and what the rounded layer makes of them is given to the next.
 * One layer is in memory, with the sums of what its matrices are given, and a state of each token. Says the share that is done.
 */
export function* calibrate(
  config: ModelConfig,
  values: StoredValues,
  texts: Texts,
  { isRounded, round, rounded }: Rounding,
): Generator<number, void> {
  const states = embedded(config, values, texts)
  for (const index of config.layers.keys()) {
    const done = (part: number, share: number) => (index + (part + share) / 3) / config.layers.length
    const inputs = new Map<string, { spec: TensorSpec; moments: Moments }>()
    for (const [, spec] of layerSpecs(config, index))
      if (isRounded(spec)) inputs.set(spec.name, { spec, moments: new Moments(spec.shape[1]) })
    const keep: Seen = ({ name }, rows) => inputs.get(name)?.moments.add(rows)
    const count = inputs.size
    let [read, matrices, made] = [0, 0, 0]
    for (const _ of layerOutputs(config, index, values, states, keep)) yield done(0, read++ / texts.length)
    for (const [name, { spec, moments }] of inputs) {
      inputs.delete(name)
      for (const _ of round(spec, moments.factor())) yield done(1, matrices / count)
      matrices++
    }
    for (const state of layerOutputs(config, index, rounded, states)) {
      yield done(2, made / texts.length)
      states[made++] = state
    }
  }
}

/**
 * What `calibrate` has in memory of texts with so many tokens, beside what is rounded: of the widest layer, a state of each token, and a factor
 * of moments in float64 at a time.
 */
export function calibrationBytes(config: ModelConfig, tokens: number): number {
  let widest = 0
  const layers = config.layers.map((_, index) => {
    const { blocks } = layerTable(config, index)
    const numbers = leaves<TensorSpec | ExpertStack>(blocks).flatMap(([, leaf]) => {
      const [count, chosen] = leaf instanceof TensorSpec ? [1, 1] : [leaf.count, leaf.chosen]
      const alike =
        leaf instanceof TensorSpec ? [leaf] : leaves<TensorSpec>(leaf.each(0)).map(([, spec]) => spec)
      return alike.map(({ size, shape: [, n = 0] }) => {
        widest = Math.max(widest, n)
        return count * size + momentNumbers(n, { matrices: count, rows: chosen * tokens })
      })
    })
    return sum(numbers)
  })
  return 4 * (Math.max(...layers) + config.hiddenSize * tokens) + 8 * widest ** 2
}

/** What texts are before the first layer: [T, D] each. */
function embedded(
  { hiddenSize: D, vocabSize, multipliers }: ModelConfig,
  values: StoredValues,
  texts: Texts,
): Float32Array[] {
  const embedding = values('embedding', [vocabSize, D])
  const factor = multipliers?.embedding ?? 1
  return texts.map((tokens) => {
    const state = new Float32Array(tokens.length * D)
    for (const [t, token] of tokens.entries())
      state.set(
        embedding.subarray(token * D, (token + 1) * D).map((value) => factor * value),
        t * D,
      )
    return state
  })
}

function layerTable(config: ModelConfig, index: number): WeightTable {
  const { blocks, ...others } = weightTable(config)
  return { ...others, blocks: [blocks[index]] }
}

/** A layer's tensors by their paths where it is the only one. */
function layerSpecs(config: ModelConfig, index: number): [path: string, spec: TensorSpec][] {
  const { blocks } = layerTable(config, index)
  return [...tensorSpecs({ blocks } as WeightTable)].map(([path, spec]) => [path, spec])
}

/** What one layer makes of each text, [T, D] to [T, D]; told of what its weights are multiplied with. */
function* layerOutputs(
  config: ModelConfig,
  index: number,
  values: StoredValues,
  states: readonly Float32Array[],
  seen?: Seen,
): Generator<Float32Array, void> {
  const { blocks, finalNorm } = layerTable(config, index)
  const source = eachStored(({ name, shape }, target) => target.set(values(name, shape)))
  const weights = packWeights({ blocks, finalNorm } as WeightTable, source)
  try {
    const tensors = new Map(leaves<tf.Tensor>(weights))
    const known = new Map(layerSpecs(config, index).map(([path, spec]) => [tensors.get(path)!.dataId, spec]))
    const look = (spec: TensorSpec, rows: tf.Tensor2D) => seen?.(spec, rows.dataSync() as Float32Array)
    for (const state of states)
      yield watchProducts(known, look, () => layerOutput(config, index, weights, state))
  } finally {
    tf.dispose([...new Set(leaves<tf.Tensor | Float32Array>(weights).map(([, leaf]) => leaf))] as tf.Tensor[])
  }
}

/** The layer as a model whose tokens are the rows that it is given. Routing on the host lets each expert be seen by itself. */
function layerOutput(
  config: ModelConfig,
  index: number,
  weights: Pick<ModelWeights, 'blocks' | 'finalNorm'>,
  state: Float32Array,
): Float32Array {
  const { hiddenSize: D, layers, multipliers } = config
  const T = state.length / D
  const embedding = tf.tensor2d(state, [T, D])
  const alone = {
    ...config,
    vocabSize: T,
    layers: [layers[index]],
    multipliers: multipliers && { ...multipliers, embedding: 1 },
  }
  const model = new MoeModel(alone, { ...weights, embedding, unembedding: null }, 'sparse')
  try {
    const { logits, trace } = model.forward([...Array(T).keys()], {
      logits: 'last',
      trace: { hiddenStates: true },
      ...(layers[index].feedForward.kind === 'moe' && { interventions: {} }),
    })
    logits.dispose()
    return trace.hiddenStates!.layers[0].output
  } finally {
    embedding.dispose()
  }
}
