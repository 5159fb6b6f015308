import type * as tf from '@tensorflow/tfjs-core'
import { heldAs, PICKING, WIDEN_GROUPS } from '../backend/held.ts'
import type { Held } from '../backend/holding.ts'
import type { TfjsNode } from '../backend/tensorflow.ts'
import { groupAttributes } from './nodes.ts'
import { type AttributeValue, DATA_TYPES, FLOAT, type GraphDtype, INT } from './protobuf.ts'

/** A weight in a graph, by what it is held as, [out, in]. */
export interface HeldWeight extends Pick<Held, 'dtype' | 'groups'> {
  held: string
  /** The tensor's, by which the model knows it. */
  dataId: object
}

/** What a recording's held weights are made of. */
export interface GraphBuilder {
  emit(op: string, input: string[], attr: Record<string, AttributeValue>): string
  constant(dtype: GraphDtype, shape: readonly number[], values: ArrayBufferView): string
  /** The value of a new variable. */
  weight(tensor: tf.Tensor, dtype: GraphDtype, shape: readonly number[]): string
  /** The entry of a stack at an index, in the stack's memory. */
  cut(stack: string, index: number, dtype: GraphDtype): string
}

/** One side of a product. */
export interface Side {
  ref: string
  shape: readonly number[]
  transposed: boolean
}

/** The weights of a recording that are held in fewer bits: what they are, and as which float32 numbers its nodes see them. */
export class HeldWeights {
  /** By the names of what widens them, which products and kernels read. */
  readonly widened = new Map<string, HeldWeight>()
  /** What each transpose of a widened weight is made of: products transpose it themselves. */
  private readonly turned = new Map<string, string>()
  /** What tensors are held as, by `dataId`. */
  private readonly refs = new WeakMap<object, string>()

  constructor(
    private readonly node: TfjsNode,
    private readonly graph: GraphBuilder,
  ) {}

  /** A tensor's numbers as float32; null of one that is not held. */
  capture(tensor: tf.Tensor): string | null {
    const held = heldAs(this.node, tensor)
    return held ? this.widen(this.refOf(tensor, held), held, tensor.dataId) : null
  }

  /** What an op that picks gives of a held tensor: picked as it is held, then widened. Null of other ops and tensors. */
  pick(
    op: string,
    [tensor]: tf.Tensor[],
    [, ...others]: string[],
    attr: Record<string, AttributeValue>,
  ): string | null {
    const held = PICKING[op] ? heldAs(this.node, tensor) : undefined
    if (!held || held.transposed) return null
    const type = { [PICKING[op]]: { type: DATA_TYPES[held.dtype] } }
    const picked = this.graph.emit(op, [this.refOf(tensor, held), ...others], { ...attr, ...type })
    return this.widen(picked, held, tensor.dataId)
  }

  /** A product's side, whose transpose the product makes where it would be a node. */
  side({ ref, shape, transposed }: Side): Side {
    const stored = this.turned.get(ref)
    if (!stored) return { ref, shape, transposed }
    return { ref: stored, shape: [...shape].reverse(), transposed: !transposed }
  }

  /** A held tensor as it is held: a variable, or cut out of one. */
  private refOf(tensor: tf.Tensor, { entry, dtype, shape }: Held): string {
    const known = this.refs.get(tensor.dataId)
    if (known) return known
    const ref = entry
      ? this.graph.cut(this.refOf(entry.of, heldAs(this.node, entry.of) as Held), entry.index, dtype)
      : this.graph.weight(tensor, dtype, shape)
    this.refs.set(tensor.dataId, ref)
    return ref
  }

  private widen(held: string, { dtype, groups, in: numbers, transposed }: Held, dataId: object): string {
    const wide = groups
      ? this.graph.emit(WIDEN_GROUPS, [held], groupAttributes(groups, numbers))
      : this.graph.emit('Cast', [held], { SrcT: { type: DATA_TYPES[dtype] }, DstT: FLOAT })
    this.widened.set(wide, { held, dtype, groups, dataId } as HeldWeight)
    if (!transposed) return wide
    const order = this.graph.constant('int32', [2], Int32Array.of(1, 0))
    const ref = this.graph.emit('Transpose', [wide, order], { T: FLOAT, Tperm: INT })
    this.turned.set(ref, wide)
    return ref
  }
}
