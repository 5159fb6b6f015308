import { constant } from './nodes.ts'
import { DATA_TYPES, FLOAT, type GraphDtype, type GraphNode, INT, nodeOf } from './protobuf.ts'
import type { Product } from './recorder.ts'

type Shape = readonly number[]

/** Builds the nodes of one form: some of TensorFlow's ops in the place of others. Names begin with that of what it replaces. */
export class Form {
  readonly nodes: GraphNode[] = []
  readonly products: Product[] = []

  /** `types`: of weights, by the names of the nodes that read or cut them. */
  constructor(
    private readonly name: string,
    private readonly types: ReadonlyMap<string, number> = new Map(),
  ) {}

  /** An op on float32; further type attributes by their names. */
  op(op: string, input: string[], types: Record<string, GraphDtype> = {}): string {
    const named = Object.entries(types).map(([attr, dtype]) => [attr, { type: DATA_TYPES[dtype] }])
    return this.add(op, input, { T: FLOAT, ...Object.fromEntries(named) })
  }

  numbers(values: number[]): string {
    return this.keep(constant(this.next(), 'float32', [values.length], Float32Array.from(values)))
  }

  whole(values: number[]): string {
    return this.keep(constant(this.next(), 'int32', [values.length], Int32Array.from(values)))
  }

  private scalar(value: number): string {
    return this.keep(constant(this.next(), 'int32', [], Int32Array.of(value)))
  }

  reshape(ref: string, shape: Shape, dtype: GraphDtype | number = 'float32'): string {
    const type = typeof dtype === 'number' ? dtype : DATA_TYPES[dtype]
    return this.add('Reshape', [ref, this.whole([...shape])], { T: { type }, Tshape: INT })
  }

  /** (image - mean) / sqrt(variance + eps) * scale + offset for each channel of image [1, channels, 1, n]. */
  batchNorm(
    image: string,
    {
      scale,
      offset,
      mean,
      variance,
      eps,
    }: Record<'scale' | 'offset' | 'mean' | 'variance', string> & { eps: number },
  ): string {
    return this.add('FusedBatchNormV3', [image, scale, offset, mean, variance], {
      T: FLOAT,
      U: FLOAT,
      epsilon: { f: eps },
      exponential_avg_factor: { f: 1 }, // else mean and variance are copied
      data_format: { s: Buffer.from('NCHW') }, // a card's own: TensorFlow would transpose to it
      is_training: { b: false },
    })
  }

  /** The halves of x [2, ...], which are views of it. */
  halves(ref: string): [string, string] {
    const name = this.add('Unpack', [ref], { T: FLOAT, num: { i: 2 }, axis: { i: 0 } })
    return [name, `${name}:1`]
  }

  /** Equal parts along an axis. */
  split(ref: string, axis: number, parts = 2): string[] {
    const name = this.add('Split', [this.scalar(axis), ref], { T: FLOAT, num_split: { i: parts } })
    return Array.from({ length: parts }, (_, i) => (i === 0 ? name : `${name}:${i}`))
  }

  /** Matrices one after the other along an axis. */
  join(refs: string[], axis: number): string {
    const attr = { T: FLOAT, Tidx: INT, N: { i: refs.length } }
    return this.add('ConcatV2', [...refs, this.scalar(axis)], attr)
  }

  /** The entries of a stack of weights at indices on the card. */
  gather(stack: string, indices: string): string {
    const type = { type: this.typeOf(stack) }
    const attr = { Tparams: type, Tindices: INT, Taxis: INT, batch_dims: { i: 0 } }
    const gathered = this.add('GatherV2', [stack, indices, this.scalar(0)], attr)
    this.own.set(gathered, type.type)
    return gathered
  }

  /** One matrix by another. */
  matMul(left: string, m: Shape, right: string, n: Shape, { rightTransposed = false } = {}): string {
    const transposed = { transpose_a: { b: false }, transpose_b: { b: rightTransposed } }
    const [rows, columns] = [m[0], n[rightTransposed ? 0 : 1]]
    return this.multiply('MatMul', transposed, [left, m, right, n, rightTransposed], [rows, columns])
  }

  /** Stacks of matrices, of which sizes of 1 are repeated. */
  stackMatMul(left: string, m: Shape, right: string, n: Shape): string {
    const transposed = { adj_x: { b: false }, adj_y: { b: false } }
    const shape = [...m.slice(0, -1), n[n.length - 1]]
    return this.multiply('BatchMatMulV2', transposed, [left, m, right, n, false], shape)
  }

  /** The type of numbers of a variable, or of what was gathered from one. */
  typeOf(ref: string): number {
    return this.own.get(ref) ?? this.types.get(nodeOf(ref)) ?? DATA_TYPES.float32
  }

  private readonly own = new Map<string, number>()

  /** In the type of the weights; the other side is rounded before, and the result widened after. */
  private multiply(
    op: string,
    transposed: GraphNode['attr'],
    [left, m, right, n, rightTransposed]: [string, Shape, string, Shape, boolean],
    shape: Shape,
  ): string {
    const types = [left, right].map((ref) => this.typeOf(ref))
    const half = types.find((type) => type !== DATA_TYPES.float32)
    if (half === undefined) {
      const product = this.add(op, [left, right], { T: FLOAT, ...transposed })
      this.products.push({
        node: this.nodes[this.nodes.length - 1],
        left: { ref: left, shape: m, transposed: false },
        right: { ref: right, shape: n, transposed: rightTransposed },
        shape,
      })
      return product
    }
    const rounded = [left, right].map((ref, i) =>
      types[i] === half ? ref : this.add('Cast', [ref], { SrcT: FLOAT, DstT: { type: half } }),
    )
    const product = this.add(op, rounded, { T: { type: half }, ...transposed })
    return this.add('Cast', [product], { SrcT: { type: half }, DstT: FLOAT })
  }

  add(op: string, input: string[], attr: GraphNode['attr']): string {
    return this.keep({ name: this.next(), op, input, attr })
  }

  /** The nodes, of which the last gets the name of what they replace. */
  ending(): GraphNode[] {
    return [...this.nodes.slice(0, -1), { ...this.nodes[this.nodes.length - 1], name: this.name }]
  }

  private keep(node: GraphNode): string {
    this.nodes.push(node)
    return node.name
  }

  private next(): string {
    return `${this.name}/form${this.nodes.length}`
  }
}
