import { WIDEN_GROUPS } from '../backend/held.ts'
import { LIMITS } from '../backend/limits.ts'
import { constant } from './nodes.ts'
import type { Plan } from './plan.ts'
import { DATA_TYPES, type GraphNode, nodeOf } from './protobuf.ts'
import { multiplications, type Product, type Recording, sizeOf } from './recorder.ts'

/**
 * A pass, for graphs of small weights: products of many rows become nodes that TensorFlow's scheduler runs at the same time, each
 * on one thread; handing pieces of one op to several threads costs more where weights are small (docs/log.md). The operand that
 * has the rows is cut along its first axis, which copies nothing. Products that stand side by side already, as experts do, are cut
 * into accordingly fewer.
 */
export function sideBySide(graph: Recording, { smallWeights, threads, tiles }: Plan): Recording {
  if (typicalWeights(graph) >= smallWeights) return graph
  const products = new Map(graph.products.map((product) => [product.node, product]))
  const depths = depthsOf(graph.nodes)
  const neighbours = new Map<number, number>()
  for (const node of products.keys()) {
    const depth = depths.get(node.name) as number
    neighbours.set(depth, (neighbours.get(depth) ?? 0) + 1)
  }
  const nodes = graph.nodes.flatMap((node) => {
    const product = products.get(node)
    if (!product || (tiles && isHeld(product, graph))) return [node]
    const beside = neighbours.get(depths.get(node.name) as number) as number
    return cut(product, Math.floor(threads / beside))
  })
  return { ...graph, nodes, oneThreadAnOp: true }
}

function isHeld({ left, right }: Product, { weights }: Recording): boolean {
  return [left, right].some(({ ref }) => weights?.has(ref))
}

/** Numbers in the median of the matrices of weights that a graph multiplies with; infinite if it has none. */
function typicalWeights({ nodes, products }: Recording): number {
  const constants = new Set(nodes.filter(({ op }) => op === 'Const').map(({ name }) => name))
  const read = new Set<string>()
  for (const { op, name, input } of nodes) {
    const entry = op === 'StridedSlice' && read.has(input[0]) && constants.has(input[1])
    const widened = (op === 'Cast' || op === WIDEN_GROUPS) && read.has(input[0])
    if (op === 'ReadVariableOp' || entry || widened) read.add(name)
  }
  const sizes = products
    .flatMap(({ left, right }) => [left, right])
    .filter(({ ref }) => read.has(nodeOf(ref)))
    .map(({ shape }) => sizeOf(shape))
    .sort((a, b) => a - b)
  return sizes[Math.floor(sizes.length / 2)] ?? Number.POSITIVE_INFINITY
}

/** How many nodes stand in a row before each. Nodes are in an order in which inputs come first. */
function depthsOf(nodes: GraphNode[]): Map<string, number> {
  const depths = new Map<string, number>()
  for (const { name, input } of nodes) {
    const before = input.map((ref) => depths.get(nodeOf(ref)) ?? 0)
    depths.set(name, 1 + Math.max(0, ...before))
  }
  return depths
}

/** The product in `parts` parts, or as it is where that does not pay, does not come out even, or is one of many already. */
function cut(product: Product, parts: number): GraphNode[] {
  const { node, left, right } = product
  const side = left.transposed ? 'right' : 'left'
  const [length] = product[side].shape.slice(-2)
  if (parts < 2 || multiplications(product) < LIMITS.cutProduct || length % parts !== 0) return [node]
  if ([left, right].some(({ shape }) => sizeOf(shape.slice(0, -2)) > 1)) return [node]
  return new Cut(product, side, parts).nodes
}

/** The nodes that a product of two matrices becomes. The last one has its name. */
class Cut {
  readonly nodes: GraphNode[] = []

  constructor(
    private readonly product: Product,
    side: 'left' | 'right',
    private readonly parts: number,
  ) {
    const { node, left, right, shape } = product
    const cutsLeft = side === 'left'
    // Left is [m, k] or [k, m], right [k, n] or [n, k]. Cut along k, the parts are added up; along m or n, they are joined.
    const alongK = cutsLeft ? left.transposed : !right.transposed
    const parted = {
      left: cutsLeft ? 0 : alongK ? (left.transposed ? 0 : 1) : null,
      right: !cutsLeft ? 0 : alongK ? (right.transposed ? 1 : 0) : null,
    } as const
    const a = this.operand('left', parted.left)
    const b = this.operand('right', parted.right)
    const transposed = { transpose_a: { b: left.transposed }, transpose_b: { b: right.transposed } }
    const results = Array.from({ length: parts }, (_, i) =>
      this.add('MatMul', `part${i}`, [a(i), b(i)], { T: FLOAT, ...transposed }),
    )
    const stacked = shape.length > 2 // [1, m, n], as a product of stacks of one has it
    const suffix = stacked ? 'matrix' : ''
    if (alongK) this.add('AddN', suffix, results, { T: FLOAT, N: { i: parts } })
    else {
      const axis = this.numbers('axis', [cutsLeft ? 0 : 1], [])
      this.add('ConcatV2', suffix, [...results, axis], { T: FLOAT, Tidx: INT, N: { i: parts } })
    }
    if (stacked) this.reshape('', `${node.name}/matrix`, shape)
  }

  /** Which input the i-th product takes: its part of the matrix, cut along `axis`, or the whole. */
  private operand(side: 'left' | 'right', axis: 0 | 1 | null): (i: number) => string {
    const { ref, shape } = this.product[side]
    const matrix = shape.length === 2 ? ref : this.reshape(side, ref, shape.slice(-2))
    if (axis === null) return () => matrix
    const inputs = [this.numbers(`${side}/axis`, [axis], []), matrix]
    const split = this.add('Split', `${side}/parts`, inputs, { T: FLOAT, num_split: { i: this.parts } })
    return (i) => (i === 0 ? split : `${split}:${i}`)
  }

  private reshape(suffix: string, ref: string, shape: readonly number[]): string {
    const sizes = this.numbers(`${suffix || 'result'}/shape`, shape, [shape.length])
    return this.add('Reshape', suffix, [ref, sizes], { T: FLOAT, Tshape: INT })
  }

  private numbers(suffix: string, values: readonly number[], shape: number[]): string {
    const name = `${this.product.node.name}/${suffix}`
    this.nodes.push(constant(name, 'int32', shape, Int32Array.from(values)))
    return name
  }

  private add(op: string, suffix: string, input: string[], attr: GraphNode['attr']): string {
    const { name: whole } = this.product.node
    const name = suffix ? `${whole}/${suffix}` : whole
    this.nodes.push({ name, op, input, attr })
    return name
  }
}

const FLOAT = { type: DATA_TYPES.float32 }
const INT = { type: DATA_TYPES.int32 }
