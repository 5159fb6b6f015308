import type * as tf from '@tensorflow/tfjs-core'
import { product, sum } from '../sums.ts'
import { ATTENTION } from './attention/index.ts'
import type { AttentionConfig, DenseConfig, ModelConfig, MoeConfig } from './config.ts'
import { leaves } from './tree.ts'
import type {
  AttentionWeights,
  DenseWeights,
  ExpertWeights,
  LinearWeights,
  ModelWeights,
  MoeWeights,
  StackedExperts,
} from './weights.ts'

/*
 * The one table of a model's tensors: which tensors of a checkpoint each is made of, and how. Loading, saving and training go
 * by it; names are ours, a family translates them. src/cost counts from shapes alone, and tests hold it to these tensors.
 */

/** A tensor as checkpoints hold it; a matrix is [out, in]. */
export interface StoredTensor {
  name: string
  shape: number[]
}

/** `joined`: one above the other, as they are. `transposed`: the same turned, [in, all outs]. `host`: numbers, no tensor. */
export type Packing = 'joined' | 'transposed' | 'host'

/** One tensor of the model. */
export class TensorSpec {
  /** Of the stored tensors joined. */
  readonly shape: number[]

  constructor(
    readonly stored: StoredTensor[],
    readonly packing: Packing = 'joined',
  ) {
    const [, ...rest] = stored[0].shape
    this.shape = [sum(stored.map(({ shape }) => shape[0])), ...rest]
  }

  get size(): number {
    return product(this.shape)
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

/** The E experts of a layer. Checkpoints hold each expert's matrices, or all experts' in one tensor. */
export class ExpertStack {
  constructor(
    readonly count: number,
    private readonly prefix: string,
    private readonly D: number,
    private readonly H: number,
  ) {}

  each(e: number): Described<ExpertWeights> {
    return swiglu(`${this.prefix}.experts.${e}`, this.D, this.H, false)
  }

  /** Values of all experts. */
  get size(): number {
    return this.count * sum([...leaves<TensorSpec>(this.each(0))].map(([, { size }]) => size))
  }

  get whole(): Described<StackedExperts> {
    const one = this.each(0)
    const stack = (part: keyof StackedExperts) => {
      const shape = [this.count, ...one[part].weight.shape]
      return new TensorSpec([{ name: `${this.prefix}.stacked.${part}`, shape }])
    }
    return { gateUp: stack('gateUp'), down: stack('down') }
  }
}

/** A part of the weights with a description in the place of each tensor. */
export type Described<T> = T extends tf.Tensor | Float32Array
  ? TensorSpec
  : T extends MoeWeights
    ? { [K in Exclude<keyof T, 'experts' | 'stacked'>]: Described<T[K]> } & { experts: ExpertStack }
    : T extends object
      ? { [K in keyof T]: Described<T[K]> }
      : T

export type WeightTable = Described<ModelWeights>

/** The table of a model. Small whatever the config asks for, since experts are described when asked for. */
export function weightTable(config: ModelConfig): WeightTable {
  const { vocabSize: V, hiddenSize: D } = config
  return {
    embedding: tensor('embedding', [V, D]),
    blocks: config.layers.map(({ attention, feedForward }, i) => ({
      attentionNorm: tensor(`blocks.${i}.attentionNorm`, [D]),
      attention: attentionTable(`blocks.${i}.attention`, attention, D),
      feedForwardNorm: tensor(`blocks.${i}.feedForwardNorm`, [D]),
      feedForward:
        feedForward.kind === 'dense'
          ? denseTable(`blocks.${i}.mlp`, feedForward, D)
          : mixtureTable(`blocks.${i}.moe`, feedForward, D),
    })),
    finalNorm: tensor('finalNorm', [D]),
    unembedding: config.tieWordEmbeddings ? null : linear('transposed', [['unembedding', [V, D]]], false),
  }
}

/** The kind describes its tensors; here they get the layer's name. */
function attentionTable(prefix: string, attention: AttentionConfig, D: number): Described<AttentionWeights> {
  return ATTENTION[attention.kind].weights(attention, D, {
    linear(matrices, bias) {
      const named = matrices.map(([name, shape]): Named => [`${prefix}.${name}`, shape])
      return linear('transposed', named, bias)
    },
    norm: (name, size) => tensor(`${prefix}.${name}`, [size]),
  })
}

function denseTable(
  prefix: string,
  { intermediateSize, bias }: DenseConfig,
  D: number,
): Described<DenseWeights> {
  return { kind: 'dense', expert: swiglu(prefix, D, intermediateSize, bias) }
}

function mixtureTable(prefix: string, config: MoeConfig, D: number): Described<MoeWeights> {
  const { router, intermediateSize: H, sharedExpert } = config
  const E = router.numExperts
  return {
    kind: 'moe',
    router: linear('transposed', [[`${prefix}.router`, [E, D]]], false),
    scoreBias: router.scoreBias ? tensor(`${prefix}.scoreBias`, [E], 'host') : null,
    experts: new ExpertStack(E, prefix, D, H),
    shared: sharedExpert ? swiglu(`${prefix}.shared`, D, sharedExpert.intermediateSize, false) : undefined,
  }
}

function swiglu(prefix: string, D: number, H: number, bias: boolean): Described<ExpertWeights> {
  const gateUp: Named[] = [
    [`${prefix}.gate`, [H, D]],
    [`${prefix}.up`, [H, D]],
  ]
  return {
    gateUp: linear('joined', gateUp, bias),
    down: linear('joined', [[`${prefix}.down`, [D, H]]], bias),
  }
}

/** A matrix [out, in] of a checkpoint. */
export type Named = [name: string, shape: number[]]

function linear(packing: Packing, matrices: Named[], bias: boolean): Described<LinearWeights> {
  const stored = matrices.map(([name, shape]) => ({ name, shape }))
  const biases = matrices.map(([name, [out]]) => ({ name: `${name}.bias`, shape: [out] }))
  return {
    weight: new TensorSpec(stored, packing),
    bias: bias ? new TensorSpec(biases) : null,
  }
}

function tensor(name: string, shape: number[], packing?: Packing): TensorSpec {
  return new TensorSpec([{ name, shape }], packing)
}

/**
 * The table's tensors in the model's order, each with its path in `ModelWeights`; of experts each, or the `stacked` form.
 * One after the other, since a wrong config may ask for more experts than memory holds.
 */
export function* tensorSpecs(table: WeightTable, stacked = false): Generator<[path: string, TensorSpec]> {
  for (const [path, leaf] of leaves<TensorSpec | ExpertStack>(table)) {
    if (leaf instanceof TensorSpec) yield [path, leaf]
    else if (stacked) yield* leaves<TensorSpec>(leaf.whole, path)
    else for (let e = 0; e < leaf.count; e++) yield* leaves<TensorSpec>(leaf.each(e), `${path}.${e}`)
  }
}
