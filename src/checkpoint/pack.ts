import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { heldAs, heldEntry, holdTensor } from '../backend/held.ts'
import { type Holding, rowBytes } from '../backend/holding.ts'
import { type TfjsNode, tensorflow } from '../backend/tensorflow.ts'
import { CachedExperts, type ExpertCache, type ExpertShelf } from '../model/expert-cache.ts'
import { ExpertStack, type ModelPart, type StoredTensor, TensorSpec } from '../model/tensor-spec.ts'
import { leaves, mapLeaves } from '../model/tree.ts'
import type { WeightTable } from '../model/weight-table.ts'
import {
  cutExperts,
  type ExpertWeights,
  type ModelWeights,
  type MoeWeights,
  type StackedExperts,
} from '../model/weights.ts'
import { product, sum } from '../sums.ts'
import { floatsIn, Piece, StackShelf, TensorShelf } from './shelf.ts'

/** Called after each tensor of a file with the share (0..1) of the weights that has been read. */
export type LoadProgress = (share: number) => void

/** Fills `target` with the numbers of the stored tensors that one of the model's is made of, one after the other. */
export type WeightSource = (spec: TensorSpec, target: Float32Array) => void

type LoadedExperts = Pick<MoeWeights, 'experts' | 'stacked' | 'onDisk'>

/** Where so many bytes may be put. */
type Room = (bytes: number) => Uint8Array

/** A source that has each stored tensor by itself. */
export function eachStored(read: (tensor: StoredTensor, target: Float32Array) => void): WeightSource {
  return ({ stored }, target) => {
    let end = 0
    for (const tensor of stored) {
      const begin = end
      end += product(tensor.shape)
      read(tensor, target.subarray(begin, end))
    }
  }
}

/** Where matrices come from that are held in fewer bits. */
export interface HeldSource {
  /** How the matrices are to be held that these are one above the other; null: as float32. */
  holding(specs: readonly TensorSpec[]): Holding | null
  /** As a `WeightSource`, the bytes that are held. */
  read(spec: TensorSpec, target: Uint8Array, holding: Holding): void
}

export interface PackOptions {
  onProgress?: LoadProgress
  /** Default: none are held in fewer bits. */
  held?: HeldSource
  /** Whether the numbers stay on the host until an op uses them: a card's graphs have variables of their own. */
  onHost?: boolean
  /** Given where the routed experts stay in the file: which of them are in memory. The source is then read as long as the model is. */
  onDisk?: ExpertCache
  /** Bytes up to which a layer's experts on disk are one stack, which graphs read. Default: what an array of Node 20 holds. */
  largestStack?: number
}

/** Lays a model's weights out on the active device as the table says. Frees what it made where the source throws. */
export function packWeights(
  table: WeightTable,
  source: WeightSource,
  { onProgress = () => {}, onHost = false, held, onDisk, largestStack = LARGEST_ARRAY }: PackOptions = {},
): ModelWeights {
  const sizes = leaves<TensorSpec | ExpertStack>(table).map(([, leaf]) =>
    leaf instanceof ExpertStack ? (onDisk ? 0 : leaf.count * leaf.size) : leaf.size,
  )
  const packer = new Packer(source, sum(sizes), onProgress, onHost, held, onDisk, largestStack)
  try {
    return packer.tree(table) as ModelWeights
  } catch (error) {
    packer.dispose()
    throw error
  }
}

/** Bytes of the longest array that Node 20 has. */
export const LARGEST_ARRAY = 2 ** 32

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

/** Each expert as a part of the host's numbers. */
function entriesOf(stacked: StackedExperts): ExpertWeights[] {
  const [count] = stacked.gateUp.weight.shape
  return Array.from(
    { length: count },
    (_, e) =>
      mapLeaves<tf.Tensor>(stacked, (stack) => {
        const node = tensorflow()
        if (node && heldAs(node, stack)) return heldEntry(node, stack, e)
        const shape = stack.shape.slice(1)
        const length = product(shape)
        return tf.tensor(stack.dataSync().subarray(e * length, (e + 1) * length), shape)
      }) as ExpertWeights,
  )
}

/** Turns the table's entries into tensors of the device, and remembers them in case a later one fails. */
class Packer {
  private readonly made: tf.Tensor[] = []
  private readonly cached: CachedExperts[] = []
  private readValues = 0

  constructor(
    private readonly source: WeightSource,
    private readonly totalValues: number,
    private readonly onProgress: LoadProgress,
    private readonly onHost: boolean,
    private readonly heldSource: HeldSource | undefined,
    private readonly onDisk: ExpertCache | undefined,
    private readonly largestStack: number,
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
    for (const experts of this.cached) experts.dispose()
  }

  private tensor(spec: TensorSpec): tf.Tensor | Float32Array {
    const { shape, size, packing } = spec
    const piece = this.piece(spec, [spec], bytesToShare)
    piece.fill(0)
    this.tell(size)
    if (piece.isHeld || packing === 'joined') return this.keep(piece.tensor())
    const values = floatsIn(piece.bytes)
    if (packing === 'host') return values
    // Transposing on the device also uploads now, so that the host's copy can go.
    const turned = this.keep(tf.tidy(() => tf.transpose(tf.tensor(values, shape))))
    if (!this.onHost) return turned
    const ofHost = this.keep(tf.tensor(turned.dataSync(), turned.shape))
    turned.dispose()
    return ofHost
  }

  /** In one piece of memory where the device can cut it without copying, else one by one. */
  private experts(stack: ExpertStack): LoadedExperts {
    if (this.onDisk) return this.expertsOnDisk(stack, this.onDisk)
    if (!backend().cutsShareMemory) {
      return {
        experts: Array.from({ length: stack.count }, (_, e) => this.tree(stack.each(e)) as ExpertWeights),
      }
    }
    const stacked = mapLeaves<Piece>(this.stackPieces(stack, bytesToShare), (piece) => {
      for (let e = 0; e < stack.count; e++) piece.fill(e)
      const tensor = this.keep(piece.tensor())
      this.tell(tensor.size)
      return tensor
    }) as StackedExperts
    // Cutting also uploads the stacks now, so that the host's copies can go.
    const experts = this.onHost ? entriesOf(stacked) : cutExperts(stacked)
    for (const [, tensor] of leaves<tf.Tensor>(experts)) this.keep(tensor)
    return { experts, stacked }
  }

  private expertsOnDisk(stack: ExpertStack, cache: ExpertCache): LoadedExperts {
    const node = tensorflow()
    // All alike, as an expert's place in memory may be another's.
    const holdings = new Map(
      this.stackParts(stack).map(([path, whole, specs]) => [path, this.holdingOf(whole, specs)]),
    )
    const ofExpert = (e: number) =>
      mapLeaves<TensorSpec>(stack.each(e), (spec, path) => {
        return this.piece(spec, [spec], bytesToShare, holdings.get(path) ?? null)
      })
    const apart = new TensorShelf(stack.count, ofExpert)
    const onDisk = (shelf: ExpertShelf) => {
      const experts = new CachedExperts(shelf, cache)
      this.cached.push(experts)
      return experts
    }
    const fits = stack.count * apart.largestTensor <= this.largestStack
    const pieces = node && fits && !backend().onCard ? this.reservedPieces(stack, node) : null
    if (!node || !pieces) return { experts: [], onDisk: onDisk(apart) }
    const shelf = new StackShelf(node, stack.count, pieces)
    for (const [, tensor] of leaves<tf.Tensor>(shelf.stacked)) this.keep(tensor)
    return { experts: [], onDisk: onDisk(shelf), stacked: shelf.stacked }
  }

  /** Null where the system does not reserve so much, or Node takes no array of it. */
  private reservedPieces(stack: ExpertStack, { binding }: TfjsNode): unknown {
    let refused = false
    const reserve = (bytes: number) => {
      refused = true
      const memory = new Uint8Array(binding.reserveMemory(bytes))
      refused = false
      return memory
    }
    try {
      return this.stackPieces(stack, reserve)
    } catch (error) {
      if (!refused) throw error
      return null
    }
  }

  /** A piece for each of the stacks. */
  private stackPieces(stack: ExpertStack, room: Room): unknown {
    const parts = new Map(this.stackParts(stack).map(([path, , specs]) => [path, specs]))
    return mapLeaves<TensorSpec>(stack.whole, (whole, path) => {
      return this.piece(whole, parts.get(path) as TensorSpec[], room)
    })
  }

  /** Each of the stacks, by its path in an expert, and what it is made of. */
  private stackParts(stack: ExpertStack): [path: string, whole: TensorSpec, specs: TensorSpec[]][] {
    const all = Array.from({ length: stack.count }, (_, e) => new Map(leaves<TensorSpec>(stack.each(e))))
    return leaves<TensorSpec>(stack.whole).map(([path, whole]) => {
      return [path, whole, all.map((each) => each.get(path) as TensorSpec)]
    })
  }

  /** Room for `whole`, which is made of these one above the other, in fewer bits where it is held so. */
  private piece(
    whole: TensorSpec,
    specs: readonly TensorSpec[],
    room: Room,
    holding = this.holdingOf(whole, specs),
  ): Piece {
    const { shape, size, packing } = whole
    const source = this.heldSource
    if (!holding || !source) {
      const bytes = room(Float32Array.BYTES_PER_ELEMENT * size)
      const read = (i: number, target: Uint8Array) => this.source(specs[i], floatsIn(target))
      return new Piece(bytes, specs.length, false, read, () => tf.tensor(floatsIn(bytes), shape))
    }
    const row = rowBytes(holding, shape[shape.length - 1]) as number
    const bytes = room(product(shape.slice(0, -1)) * row)
    const read = (i: number, target: Uint8Array) => source.read(specs[i], target, holding)
    const hold = () => holdTensor(tensorflow()!, bytes, shape, holding, packing === 'transposed')
    return new Piece(bytes, specs.length, true, read, hold)
  }

  /** How what is made of these is held in fewer bits; null where it is not. */
  private holdingOf({ part, shape }: TensorSpec, specs: readonly TensorSpec[]): Holding | null {
    if (!tensorflow() || specs[0].shape.length < 2 || !HELD_PARTS.includes(part)) return null
    const holding = this.heldSource?.holding(specs) ?? null
    return holding && rowBytes(holding, shape[shape.length - 1]) !== null ? holding : null
  }

  private tell(values: number): void {
    this.readValues += values
    this.onProgress(this.readValues / this.totalValues)
  }

  private keep<T extends tf.Tensor>(tensor: T): T {
    this.made.push(tf.keep(tensor))
    return tensor
  }
}
