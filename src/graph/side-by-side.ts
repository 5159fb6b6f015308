import { WIDEN_GROUPS } from '../backend/held.ts'
import { LIMITS } from '../backend/limits.ts'
import { Form } from './form.ts'
import type { Side } from './held-weights.ts'
import type { Plan } from './plan.ts'
import { FLOAT, type GraphNode, nodeOf } from './protobuf.ts'
import { multiplications, type Product, type Recording, sizeOf } from './recorder.ts'

/**
 * A pass, for graphs of small weights: products of many rows become nodes that TensorFlow's scheduler runs at the same time, each
 * on one thread; handing pieces of one op to several threads costs more where weights are small (docs/log.md). The operand that
 * has the rows is cut along its first axis, which copies nothing. Products that stand side by side already, as experts do, are cut
 * into accordingly fewer.
 */
export function sideBySide(graph: Recording, { smallWeights, threads, held }: Plan): Recording {
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
    if (!product || (held && isHeld(product, graph))) return [node]
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
  return inParts(product, side, parts)
}

/** The nodes that a product of two matrices becomes. The last one has its name. */
function inParts({ node, left, right, shape }: Product, side: 'left' | 'right', parts: number): GraphNode[] {
  const form = new Form(node.name)
  const cutsLeft = side === 'left'
  // Left is [m, k] or [k, m], right [k, n] or [n, k]. Cut along k, the parts are added up; along m or n, they are joined.
  const alongK = cutsLeft ? left.transposed : !right.transposed
  /** Which input each product takes: its part of the matrix, cut along `axis`, or the whole. */
  const operand = ({ ref, shape }: Side, axis: number | null) => {
    const matrix = shape.length === 2 ? ref : form.reshape(ref, shape.slice(-2))
    return axis === null ? new Array<string>(parts).fill(matrix) : form.split(matrix, axis, parts)
  }
  const a = operand(left, cutsLeft ? 0 : alongK ? (left.transposed ? 0 : 1) : null)
  const b = operand(right, !cutsLeft ? 0 : alongK ? (right.transposed ? 1 : 0) : null)
  const transposed = { transpose_a: { b: left.transposed }, transpose_b: { b: right.transposed } }
  const results = a.map((part, i) => form.add('MatMul', [part, b[i]], { T: FLOAT, ...transposed }))
  const matrix = alongK
    ? form.add('AddN', results, { T: FLOAT, N: { i: parts } })
    : form.join(results, cutsLeft ? 0 : 1)
  if (shape.length > 2) form.reshape(matrix, shape) // [1, m, n], as a product of stacks of one has it
  return form.ending()
}
