import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { loadedTensorflow, tensorflow } from '../backend/tensorflow.ts'
import { InputError } from '../errors.ts'
import { leaves } from './tree.ts'
import type { ExpertReads, Experts, ExpertsOnDisk, ExpertWeights, StackedExperts } from './weights.ts'

/** One layer's experts in memory, as far as they are there. */
export interface ExpertShelf {
  /** E */
  readonly length: number
  /** That each takes. */
  readonly expertBytes: number
  /** All of them in one piece, which has the numbers of those that are there. */
  readonly stacked?: StackedExperts
  fill(expert: number): void
  empty(expert: number): void
  /** One that is there: tensors that are good until it is emptied. */
  at(expert: number): ExpertWeights
  entryOf: ExpertsOnDisk['entryOf']
}

/** An expert of a layer. */
interface Place {
  readonly shelf: ExpertShelf
  readonly expert: number
}

/** Which experts of a model are in memory: those that were needed last, as many as there is room for. */
export class ExpertCache {
  /** What has not been needed for longest comes first. */
  private readonly filled = new Set<Place>()
  private used = 0

  /** `budget`: bytes that experts may take. */
  constructor(readonly budget: number) {}

  /** Fills those of the places that are empty, at the cost of others; there is room for all of them. Returns how many it filled. */
  fill(places: readonly Place[]): number {
    const missing = places.filter((place) => !this.filled.has(place))
    for (const place of places) if (this.filled.delete(place)) this.filled.add(place)
    for (const place of missing) {
      this.makeRoom(place.shelf.expertBytes)
      this.used += place.shelf.expertBytes
      this.filled.add(place) // also if reading fails half-way
      try {
        place.shelf.fill(place.expert)
      } catch (error) {
        this.empty(place)
        throw error
      }
    }
    return missing.length
  }

  empty(place: Place): void {
    if (!this.filled.delete(place)) return
    place.shelf.empty(place.expert)
    this.used -= place.shelf.expertBytes
  }

  private makeRoom(bytes: number): void {
    for (const place of this.filled) {
      if (this.used + bytes <= this.budget) return
      this.empty(place)
    }
  }
}

/** A layer's experts that are in memory while they are needed, and after that as long as there is room. */
export class CachedExperts implements ExpertsOnDisk {
  readonly reads: ExpertReads = { hits: 0, misses: 0, bytes: 0 }
  private readonly places: readonly Place[]
  /** What graphs call this layer by. */
  private readonly supplier: number | undefined

  /** @throws InputError where there is no room for a single expert */
  constructor(
    private readonly shelf: ExpertShelf,
    private readonly cache: ExpertCache,
  ) {
    if (!this.hasRoomFor(1)) {
      throw new InputError(
        `expertsOnDisk: is ${cache.budget} bytes, expected at least ${shelf.expertBytes}, which one expert takes`,
      )
    }
    this.places = Array.from({ length: shelf.length }, (_, expert) => ({ shelf, expert }))
    const node = shelf.stacked ? tensorflow() : null
    this.supplier = node?.binding.addSupplier((experts) => this.load(experts))
  }

  get length(): number {
    return this.places.length
  }

  at(expert: number): ExpertWeights {
    this.load([expert])
    return this.shelf.at(expert)
  }

  hasRoomFor(experts: number): boolean {
    return experts * this.shelf.expertBytes <= this.cache.budget
  }

  together(chosen: tf.Tensor, all = false): Experts | null {
    const whole = Int32Array.from(this.places, (_, expert) => expert)
    const { supplier } = this
    const onDemand = supplier === undefined ? undefined : tensorflow()?.onDemand
    if (onDemand) {
      const stacks = leaves<tf.Tensor>(this.shelf.stacked).map(([, stack]) => stack)
      tf.tidy(() => {
        const flat = tf.reshape(chosen, [-1])
        onDemand(stacks, all ? tf.concat([flat, tf.tensor1d(whole, 'int32')]) : flat, supplier as number)
      })
      return this.shelf
    }
    const needed = new Set(all ? whole : backend().read<Int32Array>(chosen))
    if (!this.hasRoomFor(needed.size)) return null
    this.load(needed)
    return this.shelf
  }

  entryOf(dataId: object): ReturnType<ExpertsOnDisk['entryOf']> {
    return this.shelf.entryOf(dataId)
  }

  dispose(): void {
    if (this.supplier !== undefined) loadedTensorflow()?.binding.removeSupplier(this.supplier)
    for (const place of this.places) this.cache.empty(place)
  }

  private load(experts: Iterable<number>): void {
    const needed = [...new Set(experts)]
    const read = this.cache.fill(needed.map((expert) => this.places[expert]))
    this.reads.hits += needed.length - read
    this.reads.misses += read
    this.reads.bytes += read * this.shelf.expertBytes
  }
}
