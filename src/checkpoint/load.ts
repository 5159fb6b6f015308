import * as tf from '@tensorflow/tfjs-core'
import { CheckpointError } from '../errors.ts'
import type { Family } from '../families/family.ts'
import { ourName, publishedName } from '../families/names.ts'
import type { ModelConfig, MoeConfig } from '../model/config.ts'
import {
  type BlockWeights,
  cutExperts,
  type ExpertWeights,
  type LinearWeights,
  type ModelWeights,
  type MoeWeights,
  type StackedExperts,
} from '../model/weights.ts'
import { excerpt } from '../text/foreign.ts'
import { quote } from './json.ts'
import { expectedTensors, sizeOf } from './layout.ts'
import type { CheckpointTensor } from './safetensors.ts'
import type { Checkpoint } from './shards.ts'

/** Missing tensors that are counted; of so many the exact number tells nothing more. */
const MANY_MISSING = 1000

/** Called after each tensor group with the share (0..1) of the checkpoint that has been read. */
export type LoadProgress = (share: number) => void

/**
 * Reads a checkpoint's tensors onto the active device, one at a time, so that no second copy of the model exists.
 * @throws CheckpointError for a tensor that is missing, left over, given twice or misshapen
 */
export function loadWeights(
  checkpoint: Checkpoint,
  config: ModelConfig,
  family: Family,
  onProgress: LoadProgress = () => {},
): ModelWeights {
  const reader = new WeightReader(matchTensors(checkpoint, config, family), onProgress)
  try {
    const weights: ModelWeights = {
      embedding: reader.matrix('embedding'),
      blocks: config.layers.map((_, layer) => readBlock(reader, config, layer)),
      finalNorm: reader.vector('finalNorm'),
      unembedding: config.tieWordEmbeddings ? null : reader.linear(['unembedding']),
    }
    return weights
  } catch (error) {
    reader.dispose()
    throw error
  }
}

/** Pairs the file's tensors with the ones the config asks for: none missing, none left over, all of the right shape. */
function matchTensors(
  checkpoint: Checkpoint,
  config: ModelConfig,
  { names: rules, ignored }: Family,
): Map<string, CheckpointTensor> {
  const found = new Map<string, CheckpointTensor>()
  const leftOver: string[] = []
  for (const name of checkpoint.names()) {
    const ours = ignored(name, config) ? null : ourName(rules, name)
    if (ours === null) {
      if (!ignored(name, config)) leftOver.push(name)
      continue
    }
    const twin = found.get(ours)
    if (twin)
      throw new CheckpointError(
        `${checkpoint.dir}: ${quote(twin.name)} and ${quote(name)} are the same weight, expected one`,
      )
    found.set(ours, checkpoint.get(name))
  }
  const stacked = [...found.keys()].some((name) => name.includes('.moe.stacked.'))
  const expected = new Map<string, number[]>()
  const missing: string[] = []
  for (const [name, shape] of expectedTensors(config, stacked)) {
    expected.set(name, shape)
    if (!found.has(name)) missing.push(publishedName(rules, name) ?? name)
    if (missing.length === MANY_MISSING) break // a config that asks for a billion experts fails as fast
  }
  if (missing.length > 0) {
    throw new CheckpointError(`${checkpoint.dir}: ${listed(missing)} missing, config.json asks for it`)
  }
  for (const [name, tensor] of found) if (!expected.has(name)) leftOver.push(tensor.name)
  if (leftOver.length > 0) {
    throw new CheckpointError(
      `${checkpoint.dir}: ${listed(leftOver)} left over, config.json has no place for it`,
    )
  }
  for (const [name, shape] of expected) checkShape(found.get(name) as CheckpointTensor, shape)
  return found
}

function checkShape(tensor: CheckpointTensor, expected: number[]): void {
  if (tensor.shape.join() !== expected.join()) {
    throw new CheckpointError(
      `${tensor.file}: ${quote(tensor.name)} has shape [${excerpt(tensor.shape.join(', '))}], expected [${expected.join(', ')}] by config.json`,
    )
  }
}

function listed(names: string[]): string {
  const shown = names.slice(0, 3).map(quote).join(', ')
  const atLeast = names.length >= MANY_MISSING ? 'at least ' : ''
  return names.length > 3
    ? `${shown} and ${atLeast}${names.length - 3} more tensors are`
    : `${shown} ${names.length > 1 ? 'are' : 'is'}`
}

function readBlock(reader: WeightReader, config: ModelConfig, layer: number): BlockWeights {
  const block = `blocks.${layer}`
  const feedForward = config.layers[layer]
  return {
    attentionNorm: reader.vector(`${block}.attentionNorm`),
    attention: {
      qkv: reader.linear(['q', 'k', 'v'].map((part) => `${block}.attention.${part}`)),
      output: reader.linear([`${block}.attention.o`]),
      qkNorm: config.attention.qkNorm
        ? { query: reader.vector(`${block}.attention.qNorm`), key: reader.vector(`${block}.attention.kNorm`) }
        : undefined,
    },
    feedForwardNorm: reader.vector(`${block}.feedForwardNorm`),
    feedForward:
      feedForward.kind === 'dense'
        ? { kind: 'dense', expert: readExpert(reader, `${block}.mlp`) }
        : readMixture(reader, `${block}.moe`, feedForward),
  }
}

function readMixture(reader: WeightReader, prefix: string, config: MoeConfig): MoeWeights {
  return {
    kind: 'moe',
    router: reader.linear([`${prefix}.router`]),
    scoreBias: config.router.scoreBias ? reader.values(`${prefix}.scoreBias`) : null,
    ...readExperts(reader, prefix, config.router.numExperts),
    shared: config.sharedExpert ? readExpert(reader, `${prefix}.shared`) : undefined,
  }
}

function readExpert(reader: WeightReader, prefix: string): ExpertWeights {
  return {
    gateUp: reader.asStored([`${prefix}.gate`, `${prefix}.up`]),
    down: reader.asStored([`${prefix}.down`]),
  }
}

/** A layer's experts: in one piece of memory where the device can cut it without copying, else one by one. */
function readExperts(
  reader: WeightReader,
  prefix: string,
  E: number,
): Pick<MoeWeights, 'experts' | 'stacked'> {
  const inOne = reader.has(`${prefix}.stacked.gateUp`)
  if (tf.getBackend() === 'tensorflow') {
    const stack = (whole: string, parts: string[]) => {
      const each = Array.from({ length: E }, (_, e) => parts.map((part) => `${prefix}.experts.${e}.${part}`))
      return reader.stack(inOne ? [`${prefix}.stacked.${whole}`] : each.flat(), E)
    }
    const stacked = { gateUp: stack('gateUp', ['gate', 'up']), down: stack('down', ['down']) }
    return { stacked, experts: reader.cut(stacked) }
  }
  const experts = Array.from({ length: E }, (_, e) =>
    inOne
      ? {
          gateUp: reader.slice(`${prefix}.stacked.gateUp`, e),
          down: reader.slice(`${prefix}.stacked.down`, e),
        }
      : readExpert(reader, `${prefix}.experts.${e}`),
  )
  return { experts }
}

/** TensorFlow uses memory as it is where it starts at a multiple of this many bytes, and copies it where not. */
const ALIGNMENT = 64
/** A large ArrayBuffer starts so many bytes after a page where glibc allocates it. */
const AFTER_A_PAGE = 16

/**
 * Room for numbers that TensorFlow can use where they lie, if they are many: a copy into new memory takes several times as long
 * as reading them from a warm disk. Elsewhere it is room as any other.
 */
function numbersToShare(count: number): Float32Array {
  const offset = ALIGNMENT - AFTER_A_PAGE
  return new Float32Array(new ArrayBuffer(offset + 4 * count), offset, count)
}

/** Turns tensors of the file into tensors of the device, and remembers them in case a later one fails. */
class WeightReader {
  private readonly made: tf.Tensor[] = []
  private readonly totalValues: number
  private readValues = 0

  constructor(
    private readonly tensors: Map<string, CheckpointTensor>,
    private readonly onProgress: LoadProgress,
  ) {
    this.totalValues = [...tensors.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  }

  has(name: string): boolean {
    return this.tensors.has(name)
  }

  /** A norm's weight [D]. */
  vector(name: string): tf.Tensor1D {
    return this.keep(tf.tensor1d(this.values(name)))
  }

  /** As stored, for looking up rows. */
  matrix(name: string): tf.Tensor2D {
    return this.keep(tf.tensor2d(this.values(name), this.get(name).shape as [number, number]))
  }

  /** Matrices [out, in] (and biases, where there are any) side by side as one [in, sum of out]. */
  linear(names: string[]): LinearWeights {
    const [, inputs] = this.get(names[0]).shape
    return { weight: this.transposed(this.joined(names), inputs), bias: this.bias(names) }
  }

  /** Matrices [out, in] (and biases) one above the other, as they are: [sum of out, in]. */
  asStored(names: string[]): LinearWeights {
    const [, inputs] = this.get(names[0]).shape
    const values = this.joined(names)
    return {
      weight: this.keep(tf.tensor2d(values, [values.length / inputs, inputs])),
      bias: this.bias(names),
    }
  }

  /** Entry `index` of a stacked [E, out, in]. */
  slice(name: string, index: number): LinearWeights {
    const tensor = this.get(name)
    const [, out, inputs] = tensor.shape
    const values = tensor.readSlice(index, 1)
    this.count(values.length)
    return { weight: this.keep(tf.tensor2d(values, [out, inputs])), bias: null }
  }

  /** Matrices [out, in] one above the other, or a tensor that holds all of them, as E matrices of equal size. */
  stack(names: string[], E: number): tf.Tensor3D {
    const inputs = this.get(names[0]).shape.at(-1) as number
    const values = this.joined(names)
    return this.keep(tf.tensor3d(values, [E, values.length / (E * inputs), inputs]))
  }

  /** The experts of stacks, as views. Cutting also uploads the stacks now, so that the host's copies can go. */
  cut(stacked: StackedExperts): ExpertWeights[] {
    const experts = cutExperts(stacked)
    for (const { gateUp, down } of experts) for (const { weight } of [gateUp, down]) this.keep(weight)
    return experts
  }

  dispose(): void {
    tf.dispose(this.made)
  }

  /** Transposing on the device also uploads now, so that the host's copy can go. */
  private transposed(values: Float32Array, inputs: number): tf.Tensor2D {
    return this.keep(tf.tidy(() => tf.transpose(tf.tensor2d(values, [values.length / inputs, inputs]))))
  }

  private bias(names: string[]): tf.Tensor1D | null {
    const biases = names.map((name) => `${name}.bias`).filter((name) => this.has(name))
    return biases.length > 0 ? this.keep(tf.tensor1d(this.joined(biases))) : null
  }

  private joined(names: string[]): Float32Array {
    const sizes = names.map((name) => sizeOf(this.get(name).shape))
    const all = numbersToShare(sizes.reduce((a, b) => a + b, 0))
    let offset = 0
    names.forEach((name, i) => {
      this.values(name, all.subarray(offset, offset + sizes[i]))
      offset += sizes[i]
    })
    return all
  }

  /** A tensor's numbers on the host, in `target` where given. */
  values(name: string, target = numbersToShare(sizeOf(this.get(name).shape))): Float32Array {
    const values = this.get(name).read(target)
    this.count(values.length)
    return values
  }

  private get(name: string): CheckpointTensor {
    return this.tensors.get(name) as CheckpointTensor // matchTensors has seen to it
  }

  private count(values: number): void {
    this.readValues += values
    this.onProgress(this.readValues / this.totalValues)
  }

  private keep<T extends tf.Tensor>(tensor: T): T {
    this.made.push(tf.keep(tensor))
    return tensor
  }
}
