import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { heldAs, holdTensor } from '../backend/held.ts'
import { type Holding, rowBytes } from '../backend/holding.ts'
import { tensorflow } from '../backend/tensorflow.ts'
import { ExpertStack, type ModelPart, type StoredTensor, TensorSpec } from '../model/tensor-spec.ts'
import { leaves } from '../model/tree.ts'
import type { WeightTable } from '../model/weight-table.ts'
import {
  cutExperts,
  type ExpertWeights,
  type ModelWeights,
  type MoeWeights,
  type StackedExperts,
} from '../model/weights.ts'
import { product, sum } from '../sums.ts'

/** Called after each tensor of a file with the share (0..1) of the weights that has been read. */
export type LoadProgress = (share: number) => void

/** Where the numbers of stored tensors come from. */
export interface WeightSource {
  /** Whether a layer's experts come in one tensor a matrix, or each in its own. */
  stacked: boolean
  /** Fills `target` with a tensor's numbers, or those of one entry along its first axis. */
  read(tensor: StoredTensor, target: Float32Array, entry?: number): void
  /** How matrices made of these tensors are to be held; null or not there: as float32. */
  holding?(tensors: readonly StoredTensor[]): Holding | null
  /** As `read`, the bytes that are held. */
  readHeld?(tensor: StoredTensor, target: Uint8Array, holding: Holding, entry?: number): void
}

export interface PackOptions {
  onProgress?: LoadProgress
  /** Whether the numbers stay on the host until an op uses them: a card's graphs have variables of their own. */
  onHost?: boolean
}

/** Lays a model's weights out on the active device as the table says. Frees what it made where the source throws. */
export function packWeights(
  table: WeightTable,
  source: WeightSource,
  { onProgress = () => {}, onHost = false }: PackOptions = {},
): ModelWeights {
  const sizes = leaves<TensorSpec | ExpertStack>(table).map(([, leaf]) =>
    leaf instanceof ExpertStack ? leaf.count * leaf.size : leaf.size,
  )
  const packer = new Packer(source, sum(sizes), onProgress, onHost)
  try {
    return packer.tree(table) as ModelWeights
  } catch (error) {
    packer.dispose()
    throw error
  }
}

/** TensorFlow uses memory as it is where it starts at a multiple of this many bytes, and copies it where not. */
const ALIGNMENT = 64
/** A large ArrayBuffer starts so many bytes after a page where glibc allocates it. */
const AFTER_A_PAGE = 16
/** Parts of a model whose matrices may be held in fewer bits: what chooses experts may not. */
const HELD_PARTS: readonly ModelPart[] = [
  'embedding',
  'attention',
  'experts',
  'sharedExperts',
  'dense',
  'unembedding',
]

/**
 * Room for numbers that TensorFlow can use where they lie, if they are many: a copy into new memory takes several times as long
 * as reading them from a warm disk. Elsewhere it is room as any other.
 */
function bytesToShare(count: number): Uint8Array {
  const offset = ALIGNMENT - AFTER_A_PAGE
  return new Uint8Array(new ArrayBuffer(offset + count), offset, count)
}

function numbersToShare(count: number): Float32Array {
  const { buffer, byteOffset } = bytesToShare(4 * count)
  return new Float32Array(buffer, byteOffset, count)
}

function isHeld(tensor: tf.Tensor): boolean {
  const node = tensorflow()
  return node !== null && heldAs(node, tensor) !== undefined
}

/** Each expert as a part of the host's numbers. */
function partsOf(stacked: StackedExperts): ExpertWeights[] {
  const parts = (stack: tf.Tensor3D) => {
    const [count, ...shape] = stack.shape
    const values = stack.dataSync()
    const length = product(shape)
    return Array.from({ length: count }, (_, e) => ({
      weight: tf.tensor<tf.Rank.R2>(values.subarray(e * length, (e + 1) * length), shape),
      bias: null,
    }))
  }
  const [gateUps, downs] = [stacked.gateUp, stacked.down].map(parts)
  return gateUps.map((gateUp, e) => ({ gateUp, down: downs[e] }))
}

/** Turns the table's entries into tensors of the device, and remembers them in case a later one fails. */
class Packer {
  private readonly made: tf.Tensor[] = []
  private readValues = 0

  constructor(
    private readonly source: WeightSource,
    private readonly totalValues: number,
    private readonly onProgress: LoadProgress,
    private readonly onHost: boolean,
  ) {}

  /** The weights that a part of the table describes; a mixture's experts come with their stacks. */
  tree(node: unknown): unknown {
    if (node instanceof TensorSpec) return this.tensor(node)
    if (typeof node !== 'object' || node === null) return node
    if (Array.isArray(node)) return node.map((child) => this.tree(child))
    const parts = Object.entries(node).map(([key, child]) =>
      child instanceof ExpertStack ? this.experts(child) : { [key]: this.tree(child) },
    )
    return Object.assign({}, ...parts)
  }

  dispose(): void {
    tf.dispose(this.made)
  }

  private tensor(spec: TensorSpec): tf.Tensor | Float32Array {
    const { stored, shape, size, packing } = spec
    const held = this.held(spec, [stored])
    if (held) return held
    const values = numbersToShare(size)
    this.fill(values, stored)
    if (packing === 'host') return values
    if (packing === 'joined') return this.keep(tf.tensor(values, shape))
    // Transposing on the device also uploads now, so that the host's copy can go.
    const turned = this.keep(tf.tidy(() => tf.transpose(tf.tensor(values, shape))))
    if (!this.onHost) return turned
    const ofHost = this.keep(tf.tensor(turned.dataSync(), turned.shape))
    turned.dispose()
    return ofHost
  }

  /** In one piece of memory where the device can cut it without copying, else one by one. */
  private experts(stack: ExpertStack): Pick<MoeWeights, 'experts' | 'stacked'> {
    if (backend().cutsShareMemory) {
      const stacked = { gateUp: this.stack(stack, 'gateUp'), down: this.stack(stack, 'down') }
      // Cutting also uploads the stacks now, so that the host's copies can go.
      const experts = this.onHost && !isHeld(stacked.gateUp) ? partsOf(stacked) : cutExperts(stacked)
      for (const { gateUp, down } of experts) for (const { weight } of [gateUp, down]) this.keep(weight)
      return { experts, stacked }
    }
    const experts = Array.from({ length: stack.count }, (_, e) =>
      this.source.stacked ? this.entry(stack, e) : (this.tree(stack.each(e)) as ExpertWeights),
    )
    return { experts }
  }

  /** One matrix of all experts [E, out, in]. */
  private stack(stack: ExpertStack, part: 'gateUp' | 'down'): tf.Tensor3D {
    const { weight } = stack.whole[part]
    const { shape, size } = weight
    const each = this.source.stacked
      ? [weight.stored]
      : Array.from({ length: stack.count }, (_, e) => stack.each(e)[part].weight.stored)
    const held = this.held(weight, each)
    if (held) return held as tf.Tensor3D
    const values = numbersToShare(size)
    const length = size / each.length
    for (const [i, stored] of each.entries()) {
      this.fill(values.subarray(i * length, (i + 1) * length), stored)
    }
    return this.keep(tf.tensor<tf.Rank.R3>(values, shape as [number, number, number]))
  }

  /** One expert out of stored stacks. */
  private entry({ whole }: ExpertStack, e: number): ExpertWeights {
    const cut = ({ stored: [tensor], shape: [, ...shape] }: TensorSpec) => {
      const values = numbersToShare(product(shape))
      this.fill(values, [tensor], e)
      return { weight: this.keep(tf.tensor<tf.Rank.R2>(values, shape as [number, number])), bias: null }
    }
    return { gateUp: cut(whole.gateUp.weight), down: cut(whole.down.weight) }
  }

  /** What is held in fewer bits, made of these tensors one after the other; null where it is not. */
  private held({ part, shape, packing }: TensorSpec, pieces: StoredTensor[][]): tf.Tensor | null {
    const { source } = this
    const node = tensorflow()
    if (!node || shape.length < 2 || !HELD_PARTS.includes(part)) return null
    const tensors = pieces.flat()
    const holding = source.holding?.(tensors)
    const row = holding ? rowBytes(holding, shape[shape.length - 1]) : null
    if (!holding || row === null) return null
    const bytes = bytesToShare(product(shape.slice(0, -1)) * row)
    let end = 0
    for (const tensor of tensors) {
      const begin = end
      end += product(tensor.shape.slice(0, -1)) * row
      source.readHeld?.(tensor, bytes.subarray(begin, end), holding)
      this.tell(product(tensor.shape))
    }
    return this.keep(holdTensor(node, bytes, shape, holding, packing === 'transposed'))
  }

  private tell(values: number): void {
    this.readValues += values
    this.onProgress(this.readValues / this.totalValues)
  }

  /** The numbers of tensors (or of one entry of each), one after the other. */
  private fill(target: Float32Array, tensors: StoredTensor[], entry?: number): void {
    let end = 0
    for (const tensor of tensors) {
      const begin = end
      end += product(entry === undefined ? tensor.shape : tensor.shape.slice(1))
      this.source.read(tensor, target.subarray(begin, end), entry)
      this.tell(end - begin)
    }
  }

  private keep<T extends tf.Tensor>(tensor: T): T {
    this.made.push(tf.keep(tensor))
    return tensor
  }
}
