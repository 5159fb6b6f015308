import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { ExpertStack, type StoredTensor, TensorSpec } from '../model/tensor-spec.ts'
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

/**
 * Room for numbers that TensorFlow can use where they lie, if they are many: a copy into new memory takes several times as long
 * as reading them from a warm disk. Elsewhere it is room as any other.
 */
function numbersToShare(count: number): Float32Array {
  const offset = ALIGNMENT - AFTER_A_PAGE
  return new Float32Array(new ArrayBuffer(offset + 4 * count), offset, count)
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

  private tensor({ stored, shape, size, packing }: TensorSpec): tf.Tensor | Float32Array {
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
      const experts = this.onHost ? partsOf(stacked) : cutExperts(stacked)
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
    const { stored, shape, size } = stack.whole[part].weight
    const values = numbersToShare(size)
    if (this.source.stacked) this.fill(values, stored)
    else {
      const length = size / stack.count
      for (let e = 0; e < stack.count; e++)
        this.fill(values.subarray(e * length, (e + 1) * length), stack.each(e)[part].weight.stored)
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

  /** The numbers of tensors (or of one entry of each), one after the other. */
  private fill(target: Float32Array, tensors: StoredTensor[], entry?: number): void {
    let end = 0
    for (const tensor of tensors) {
      const begin = end
      end += product(entry === undefined ? tensor.shape : tensor.shape.slice(1))
      this.source.read(tensor, target.subarray(begin, end), entry)
      this.readValues += end - begin
      this.onProgress(this.readValues / this.totalValues)
    }
  }

  private keep<T extends tf.Tensor>(tensor: T): T {
    this.made.push(tf.keep(tensor))
    return tensor
  }
}
