import { type AttributeValue, DATA_TYPES, type GraphDtype, type GraphNode, shapeProto } from './protobuf.ts'
import { constant } from './recorder.ts'

export const type = (dtype: GraphDtype) => ({ type: DATA_TYPES[dtype] })

/** A constant of texts [n], or a single one. */
export function textConstant(name: string, values: string | string[]): GraphNode {
  const list = Array.isArray(values) ? values : [values]
  const tensor = {
    dtype: DATA_TYPES.string,
    tensor_shape: shapeProto(Array.isArray(values) ? [list.length] : []),
    string_val: list.map((value) => Buffer.from(value)),
  }
  return { name, op: 'Const', input: [], attr: { dtype: type('string'), value: { tensor } } }
}

/** Writes graph nodes that no run was recorded for. References are `node` or `node:output`, as in a GraphDef. */
export class GraphBuilder {
  readonly nodes: GraphNode[] = []
  private readonly known = new Map<string, string>()

  constructor(private readonly prefix: string) {}

  /** A node of any op; returns its name, `name` if given. */
  node(op: string, input: string[], attr: Record<string, AttributeValue>, name = this.next(op)): string {
    this.nodes.push({ name, op, input, attr })
    return name
  }

  /** An elementwise op or another one with the one type attribute T. */
  typed(op: string, dtype: GraphDtype, ...input: string[]): string {
    return this.node(op, input, { T: type(dtype) })
  }

  ints(values: number | number[]): string {
    return this.values('int32', values, Int32Array)
  }

  floats(values: number | number[]): string {
    return this.values('float32', values, Float32Array)
  }

  cast(x: string, from: GraphDtype, to: GraphDtype): string {
    return this.node('Cast', [x], { SrcT: type(from), DstT: type(to) })
  }

  /** `start, start + 1, ... end - 1`. */
  range(start: string, end: string): string {
    return this.node('Range', [start, end, this.ints(1)], { Tidx: type('int32') })
  }

  /** Whole numbers, each a node or a constant, as one vector. */
  vector(entries: (string | number)[]): string {
    if (entries.every((entry) => typeof entry === 'number')) return this.ints(entries)
    const input = entries.map((entry) => (typeof entry === 'number' ? this.ints(entry) : entry))
    return this.node('Pack', input, { T: type('int32'), N: { i: input.length }, axis: { i: 0 } })
  }

  /** `shape` has nodes for sizes that are known at run time only. */
  reshape(x: string, dtype: GraphDtype, shape: (string | number)[], name?: string): string {
    const attr = { T: type(dtype), Tshape: type('int32') }
    return this.node('Reshape', [x, this.vector(shape)], attr, name)
  }

  concat(parts: string[], dtype: GraphDtype, axis: number): string {
    const attr = { T: type(dtype), Tidx: type('int32'), N: { i: parts.length } }
    return this.node('ConcatV2', [...parts, this.ints(axis)], attr)
  }

  /** The sizes of a tensor of this rank, one node each. */
  sizesOf(x: string, dtype: GraphDtype, rank: number): string[] {
    const shape = this.node('Shape', [x], { T: type(dtype), out_type: type('int32') })
    const sizes = this.node('Unpack', [shape], { T: type('int32'), num: { i: rank }, axis: { i: 0 } })
    return Array.from({ length: rank }, (_, i) => `${sizes}:${i}`)
  }

  /** Equal constants are one node. */
  private values(
    dtype: GraphDtype,
    values: number | number[],
    ArrayType: { from(values: number[]): ArrayBufferView },
  ): string {
    const key = `${dtype} ${JSON.stringify(values)}`
    const known = this.known.get(key)
    if (known) return known
    const list = Array.isArray(values) ? values : [values]
    const name = this.next('Const')
    this.nodes.push(constant(name, dtype, Array.isArray(values) ? [list.length] : [], ArrayType.from(list)))
    this.known.set(key, name)
    return name
  }

  private next(op: string): string {
    return `${this.prefix}/${op}_${this.nodes.length}`
  }
}
