import type * as tf from '@tensorflow/tfjs-core'
import { product, sum } from '../sums.ts'
import { leaves, mapLeaves } from './tree.ts'
import type { ExpertWeights, LinearWeights, MoeWeights } from './weights.ts'

/** What parameters are counted by. */
export const MODEL_PARTS = [
  'embedding',
  'attention',
  'router',
  'experts',
  'sharedExperts',
  'dense',
  'norms',
  'unembedding',
] as const
export type ModelPart = (typeof MODEL_PARTS)[number]

/** A tensor as checkpoints hold it, by our name; a matrix is [out, in]. */
export interface StoredTensor {
  name: string
  shape: number[]
}

/** `joined`: one above the other, as they are. `transposed`: the same turned, [in, all outs]. `host`: numbers, no tensor. */
export type Packing = 'joined' | 'transposed' | 'host'

/** One tensor of a model: what it is part of, which tensors of a checkpoint it is made of, and how. */
export class TensorSpec {
  /** Of the stored tensors joined. */
  readonly shape: number[]

  constructor(
    readonly part: ModelPart,
    /** Of all of it, where a checkpoint holds it in one tensor: `blocks.0.attention.q+k+v`. */
    readonly name: string,
    readonly stored: StoredTensor[],
    readonly packing: Packing = 'joined',
  ) {
    const [, ...rest] = stored[0].shape
    this.shape = [sum(stored.map(({ shape }) => shape[0])), ...rest]
  }

  get size(): number {
    return product(this.shape)
  }

  /** Weights that a row is multiplied with. */
  get multiplied(): number {
    return this.shape.length > 1 ? this.size : 0
  }

  /** The stored tensor `index` out of the model's numbers: what packing joined, taken apart again. */
  unpack(index: number, values: Float32Array): Float32Array {
    const row = this.size / this.shape[0]
    const before = sum(this.stored.slice(0, index).map(({ shape }) => shape[0]))
    const rows = this.stored[index].shape[0]
    if (this.packing !== 'transposed') return values.slice(before * row, (before + rows) * row)
    const stored = new Float32Array(rows * row)
    for (let i = 0; i < row; i++) {
      for (let o = 0; o < rows; o++) stored[o * row + i] = values[i * this.shape[0] + before + o]
    }
    return stored
  }
}

/** Experts alike. */
export class ExpertStack<Expert extends object = Described<ExpertWeights>> {
  constructor(
    readonly part: ModelPart,
    /** E */
    readonly count: number,
    /** K: how many of them a token goes to. */
    readonly chosen: number,
    private readonly prefix: string,
    private readonly expert: (names: Describer) => Expert,
  ) {}

  each(e: number): Expert {
    return this.expert(new Describer(`${this.prefix}.experts.${e}`, this.part))
  }

  /** The tensors of all, [E, ...]. */
  get whole(): Expert {
    return mapLeaves<TensorSpec>(this.each(0), ({ part, shape }, path) => {
      const name = `${this.prefix}.experts.${path}`
      return new TensorSpec(part, name, [{ name, shape: [this.count, ...shape] }])
    }) as Expert
  }

  /** Of one expert. */
  get size(): number {
    return sum(leaves<TensorSpec>(this.each(0)).map(([, { size }]) => size))
  }

  get multiplied(): number {
    return sum(leaves<TensorSpec>(this.each(0)).map(([, { multiplied }]) => multiplied))
  }
}

/** A part of the weights with a description in the place of each tensor. */
export type Described<T> = T extends tf.Tensor | Float32Array
  ? TensorSpec
  : T extends MoeWeights
    ? { [K in Exclude<keyof T, 'experts' | 'stacked' | 'onDisk'>]: Described<T[K]> } & {
        experts: ExpertStack
      }
    : T extends object
      ? { [K in keyof T]: Described<T[K]> }
      : T

/** Shapes by names; matrices are [out, in]. */
export type Shapes = Record<string, number[]>

/** Describes tensors of one part whose names begin alike. */
export class Describer {
  constructor(
    private readonly prefix: string,
    private readonly part: ModelPart,
  ) {}

  inside(name: string, part = this.part): Describer {
    return new Describer(this.named(name), part)
  }

  /** What stands for itself. */
  tensor(name: string, shape: number[], packing?: Packing): TensorSpec {
    return this.spec({ [name]: shape }, packing)
  }

  /** Several, one above the other, as they are. */
  joined(shapes: Shapes): TensorSpec {
    return this.spec(shapes)
  }

  /** A norm's weight, and its bias where it has one. */
  norm(name: string, size: number, bias = false): TensorSpec {
    const shapes = { [name]: [size], ...(bias && { [`${name}.bias`]: [size] }) }
    return new Describer(this.prefix, 'norms').spec(shapes)
  }

  /** Matrices that rows go through together, and their biases. */
  linear(matrices: Shapes, bias = false, packing: Packing = 'transposed'): Described<LinearWeights> {
    const biases = Object.entries(matrices).map(([name, [out]]) => [`${name}.bias`, [out]])
    return {
      weight: this.spec(matrices, packing),
      bias: bias ? this.spec(Object.fromEntries(biases)) : null,
    }
  }

  experts<Expert extends object>(
    count: number,
    chosen: number,
    expert: (names: Describer) => Expert,
  ): ExpertStack<Expert> {
    return new ExpertStack(this.part, count, chosen, this.prefix, expert)
  }

  private spec(shapes: Shapes, packing?: Packing): TensorSpec {
    const stored = Object.entries(shapes).map(([name, shape]) => ({ name: this.named(name), shape }))
    return new TensorSpec(this.part, this.named(Object.keys(shapes).join('+')), stored, packing)
  }

  private named(name: string): string {
    return this.prefix ? `${this.prefix}.${name}` : name
  }
}
