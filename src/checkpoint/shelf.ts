import * as tf from '@tensorflow/tfjs-core'
import { heldAs, heldEntry } from '../backend/held.ts'
import type { TfjsNode } from '../backend/tensorflow.ts'
import type { ExpertShelf } from '../model/expert-cache.ts'
import { leaves, mapLeaves } from '../model/tree.ts'
import type { ExpertWeights, StackedExperts } from '../model/weights.ts'
import { sum } from '../sums.ts'

/** Tensors alike, one above the other in one piece of memory, and what reads each from a file. */
export class Piece {
  constructor(
    readonly bytes: Uint8Array,
    readonly count: number,
    /** Whether it is in fewer bits than it is computed with. */
    readonly isHeld: boolean,
    private readonly read: (index: number, target: Uint8Array) => void,
    /** Makes one tensor of all. Its numbers may be filled in later where the device uses memory as it is. */
    readonly tensor: () => tf.Tensor,
  ) {}

  /** Where one of them is. */
  part(index: number): Uint8Array {
    const each = this.partBytes
    return this.bytes.subarray(index * each, (index + 1) * each)
  }

  get partBytes(): number {
    return this.bytes.length / this.count
  }

  fill(index: number): void {
    this.read(index, this.part(index))
  }
}

/** Numbers in their bytes. */
export function floatsIn({ buffer, byteOffset, length }: Uint8Array): Float32Array<ArrayBuffer> {
  return new Float32Array(buffer as ArrayBuffer, byteOffset, length / Float32Array.BYTES_PER_ELEMENT)
}

type Entry = { of: tf.Tensor; index: number }

/** Experts in stacks that TensorFlow has whole, of which only the filled parts take memory. */
export class StackShelf implements ExpertShelf {
  readonly stacked: StackedExperts
  readonly expertBytes: number
  private readonly pieces: ReadonlyMap<string, Piece>
  private readonly entries = new WeakMap<object, Entry>()

  /** `pieces` in reserved memory, in the places of stacked experts. The stacks are the caller's to dispose of. */
  constructor(
    private readonly node: TfjsNode,
    readonly length: number,
    pieces: unknown,
  ) {
    this.pieces = new Map(leaves<Piece>(pieces))
    this.stacked = mapLeaves<Piece>(pieces, (piece) => piece.tensor()) as StackedExperts
    this.expertBytes = sum([...this.pieces.values()].map(({ partBytes }) => partBytes))
  }

  fill(expert: number): void {
    for (const piece of this.pieces.values()) {
      this.node.binding.claimMemory(piece.part(expert))
      piece.fill(expert)
    }
  }

  empty(expert: number): void {
    for (const piece of this.pieces.values()) this.node.binding.forgetMemory(piece.part(expert))
  }

  at(expert: number): ExpertWeights {
    return mapLeaves<tf.Tensor>(this.stacked, (stack, path) => {
      if (heldAs(this.node, stack)) return heldEntry(this.node, stack, expert)
      const part = tf.tensor(floatsIn(this.pieces.get(path)!.part(expert)), stack.shape.slice(1))
      this.entries.set(part.dataId, { of: stack, index: expert })
      return part
    }) as ExpertWeights
  }

  entryOf(dataId: object): Entry | undefined {
    return this.entries.get(dataId)
  }
}

/** Experts as tensors of their own, made when they are read: for a card, and where something else than TensorFlow computes. */
export class TensorShelf implements ExpertShelf {
  readonly expertBytes: number
  /** Bytes of an expert's largest one. */
  readonly largestTensor: number
  private readonly filled = new Map<number, ExpertWeights>()

  /** `pieces`: an expert's, made anew at each call, all experts' of the same sizes. */
  constructor(
    readonly length: number,
    private readonly pieces: (expert: number) => unknown,
  ) {
    const bytes = leaves<Piece>(pieces(0)).map(([, { partBytes }]) => partBytes)
    this.expertBytes = sum(bytes)
    this.largestTensor = Math.max(...bytes)
  }

  fill(expert: number): void {
    const pieces = this.pieces(expert)
    for (const [, piece] of leaves<Piece>(pieces)) piece.fill(0) // all are read before a tensor is made: reading may fail
    const weights = mapLeaves<Piece>(pieces, (piece) => tf.keep(piece.tensor()))
    this.filled.set(expert, weights as ExpertWeights)
  }

  empty(expert: number): void {
    tf.dispose(this.filled.get(expert) as never)
    this.filled.delete(expert)
  }

  at(expert: number): ExpertWeights {
    return this.filled.get(expert) as ExpertWeights
  }

  entryOf(): undefined {}
}
