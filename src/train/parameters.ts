import * as tf from '@tensorflow/tfjs-core'
import type { ModelConfig } from '../model/config.ts'
import { leaves, mapLeaves } from '../model/tree.ts'
import { tensorSpecs, weightTable } from '../model/weight-table.ts'
import type { ModelWeights } from '../model/weights.ts'

/** One trained tensor. The numbers live on the host, where the optimizer works; the model sees the variable. */
export interface Parameter {
  /** Its path in the weights, such as `blocks.0.attention.qkv.weight`. */
  name: string
  shape: number[]
  values: Float32Array
  variable: tf.Variable
}

/** The weights with a variable for each tensor. Takes the tensors over: they are disposed. */
export function trainable(weights: ModelWeights): { weights: ModelWeights; parameters: Parameter[] } {
  const parameters: Parameter[] = []
  const variables = mapLeaves<tf.Tensor | Float32Array>(withoutStacks(weights), (tensor, name) => {
    if (!(tensor instanceof tf.Tensor)) return tensor
    const values = (tensor.dataSync() as Float32Array).slice()
    const variable = tf.variable(tensor)
    tensor.dispose()
    parameters.push({ name, shape: tensor.shape, values, variable })
    return variable
  })
  return { weights: variables as ModelWeights, parameters }
}

/** Drops the stacked form of the experts, a second view of the same numbers that would not follow their training. */
function withoutStacks(weights: ModelWeights): ModelWeights {
  const blocks = weights.blocks.map(({ feedForward, ...block }) => {
    if (feedForward.kind === 'dense') return { ...block, feedForward }
    const { stacked, ...rest } = feedForward
    for (const [, stack] of leaves<tf.Tensor>(stacked)) stack.dispose()
    return { ...block, feedForward: rest }
  })
  return { ...weights, blocks }
}

/** Whether its numbers lose a share of their size at each step; norms and biases keep theirs. */
export function decays({ shape }: Pick<Parameter, 'shape'>): boolean {
  return shape.length > 1
}

/** Brings a parameter's numbers to the device. The copy is what the backend keeps: `values` go on changing. */
export function upload({ variable, values, shape }: Parameter): void {
  tf.tidy(() => variable.assign(tf.tensor(values.slice(), shape)))
}

/**
 * The tensors of a checkpoint by our names, from the parameters and what the weights hold on the host: what loading joins,
 * taken apart again.
 */
export function storedValues(
  config: ModelConfig,
  parameters: Parameter[],
  weights: ModelWeights,
): (ours: string) => Float32Array {
  const onHost = leaves<tf.Tensor | Float32Array>(weights).filter(
    (entry): entry is [string, Float32Array] => entry[1] instanceof Float32Array,
  )
  const byPath = new Map([
    ...onHost,
    ...parameters.map(({ name, values }) => [name, values] as [string, Float32Array]),
  ])
  const stored = new Map<string, () => Float32Array>()
  for (const [path, spec] of tensorSpecs(weightTable(config))) {
    spec.stored.forEach(({ name }, i) => {
      stored.set(name, () => spec.unpack(i, byPath.get(path)!))
    })
  }
  return (ours) => stored.get(ours)!()
}
