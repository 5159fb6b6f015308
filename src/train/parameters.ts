import * as tf from '@tensorflow/tfjs-core'
import type { ModelConfig } from '../model/config.ts'
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
  const variables = mapTensors(withoutStacks(weights), '', (tensor, name) => {
    const values = (tensor.dataSync() as Float32Array).slice()
    const variable = tf.variable(tensor)
    tensor.dispose()
    parameters.push({ name, shape: tensor.shape, values, variable })
    return variable
  })
  return { weights: variables, parameters }
}

/** Drops the stacked form of the experts, a second view of the same numbers that would not follow their training. */
function withoutStacks(weights: ModelWeights): ModelWeights {
  const blocks = weights.blocks.map(({ feedForward, ...block }) => {
    if (feedForward.kind === 'dense') return { ...block, feedForward }
    const { stacked, ...rest } = feedForward
    tf.dispose({ ...stacked })
    return { ...block, feedForward: rest }
  })
  return { ...weights, blocks }
}

/** Brings a parameter's numbers to the device. The copy is what the backend keeps: `values` go on changing. */
export function upload({ variable, values, shape }: Parameter): void {
  tf.tidy(() => variable.assign(tf.tensor(values.slice(), shape)))
}

function mapTensors<T>(node: T, path: string, map: (tensor: tf.Tensor, path: string) => tf.Tensor): T {
  if (node instanceof tf.Tensor) return map(node, path) as T
  if (typeof node !== 'object' || node === null || ArrayBuffer.isView(node)) return node
  const inside = (key: string | number) => (path ? `${path}.${key}` : String(key))
  if (Array.isArray(node)) return node.map((child, i) => mapTensors(child, inside(i), map)) as T
  const entries = Object.entries(node).map(([key, child]) => [key, mapTensors(child, inside(key), map)])
  return Object.fromEntries(entries) as T
}

/**
 * A checkpoint's tensors (names and [out, in] shapes of `expectedTensors`) from the parameters, which hold several side
 * by side and transposed: what `loadWeights` joins, taken apart again.
 */
export function storedValues(
  config: ModelConfig,
  parameters: Parameter[],
  weights: ModelWeights,
): (ours: string, shape: number[]) => Float32Array {
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]))
  return (ours, shape) => {
    const scoreBias = /^blocks\.(\d+)\.moe\.scoreBias$/.exec(ours)
    if (scoreBias) return scoreBiasOf(weights, Number(scoreBias[1]))
    const isBias = ours.endsWith('.bias')
    const { path, column } = placeOf(isBias ? ours.slice(0, -'.bias'.length) : ours, shape[0], config)
    const plain = byName.get(path) // norms and the embedding, stored as they are
    if (plain) return plain.values
    const parameter = byName.get(`${path}.${isBias ? 'bias' : 'weight'}`)
    if (!parameter) throw new Error(`no parameter for ${ours}: looked at ${path}`)
    if (isBias) return parameter.values.slice(column, column + shape[0])
    if (path.endsWith('gateUp') || path.endsWith('down'))
      return parameter.values.slice(column * shape[1], (column + shape[0]) * shape[1])
    return transposedColumns(parameter, column, shape)
  }
}

/** Where a stored tensor lies: the path of the joined one, and its first column there (of gateUp and down, which are stored as they are, row). */
function placeOf(
  ours: string,
  rows: number,
  { layers: [{ attention }] }: ModelConfig,
): { path: string; column: number } {
  const wide = attention.numHeads * attention.headDim
  const narrow = attention.numKeyValueHeads * attention.headDim
  const joined: Record<string, [name: string, column: number]> = {
    q: ['qkv', 0],
    k: ['qkv', wide],
    v: ['qkv', wide + narrow],
    o: ['output', 0],
    qNorm: ['qkNorm.query', 0],
    kNorm: ['qkNorm.key', 0],
    gate: ['gateUp', 0],
    up: ['gateUp', rows],
  }
  const at = ours.lastIndexOf('.') + 1
  const part = ours.slice(at)
  const parent = ours.slice(0, at).replace('.mlp.', '.feedForward.expert.').replace('.moe.', '.feedForward.')
  const [name, column] = joined[part] ?? [part, 0]
  return { path: parent + name, column }
}

/** Columns of a matrix [in, all] as rows [out, in]. */
function transposedColumns(
  { values, shape }: Parameter,
  column: number,
  [out, inputs]: number[],
): Float32Array {
  const stride = shape[1]
  const result = new Float32Array(out * inputs)
  for (let i = 0; i < inputs; i++) {
    for (let o = 0; o < out; o++) result[o * inputs + i] = values[i * stride + column + o]
  }
  return result
}

function scoreBiasOf({ blocks }: ModelWeights, layer: number): Float32Array {
  const { feedForward } = blocks[layer]
  if (feedForward.kind !== 'moe' || !feedForward.scoreBias) throw new Error(`layer ${layer} has no scoreBias`)
  return feedForward.scoreBias
}
