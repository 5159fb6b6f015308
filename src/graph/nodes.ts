import type { Groups } from '../backend/holding.ts'
import { DATA_TYPES, type GraphDtype, type GraphNode, shapeProto } from './protobuf.ts'

/** A node that is a variable, the same for all nodes of a session that give it this name. */
export function variable(name: string, dtype: GraphDtype, shape: readonly number[]): GraphNode {
  return {
    name,
    op: 'VarHandleOp',
    input: [],
    attr: {
      dtype: { type: DATA_TYPES[dtype] },
      shape: { shape: shapeProto(shape) },
      shared_name: { s: Buffer.from(name) },
    },
  }
}

/** A node that is fed. */
export function placeholder(name: string, dtype: GraphDtype, shape: readonly number[]): GraphNode {
  return {
    name,
    op: 'Placeholder',
    input: [],
    attr: { dtype: { type: DATA_TYPES[dtype] }, shape: { shape: shapeProto(shape) } },
  }
}

/** A node that is its values. */
export function constant(
  name: string,
  dtype: GraphDtype,
  shape: readonly number[],
  values: ArrayBufferView,
): GraphNode {
  const content = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  const type = DATA_TYPES[dtype]
  return {
    name,
    op: 'Const',
    input: [],
    attr: {
      dtype: { type },
      value: { tensor: { dtype: type, tensor_shape: shapeProto(shape), tensor_content: content } },
    },
  }
}

/** What a kernel is told of weights in groups; the one that widens them also how many numbers a row has. */
export function groupAttributes({ bits, group, floats }: Groups, numbers?: number): GraphNode['attr'] {
  return {
    bits: { i: bits },
    group: { i: group },
    floats: { b: floats === true },
    ...(numbers !== undefined && { in: { i: numbers } }),
  }
}
