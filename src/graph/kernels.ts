import type { Dtype } from '../backend/dtypes.ts'
import { FEW_ROWS_PRODUCT, FUSED } from '../backend/kernels.ts'
import { LIMITS } from '../backend/limits.ts'
import type { Plan } from './plan.ts'
import { DATA_TYPES, type GraphNode, nodeOf } from './protobuf.ts'
import { multiplications, type Product, type Recording } from './recorder.ts'

/**
 * A pass: the fused kernels that were noted while the graph was recorded, each in the place of its steps, which stay beside it
 * without effect unless fetched.
 */
export function fuse(graph: Recording, { expertParts }: Plan): Recording {
  const nodes = graph.nodes.flatMap((node) => {
    const kernel = graph.fused?.get(node.name)
    if (!kernel) return [node]
    return kernel.op === FUSED.experts.op && expertParts > 1 ? inParts(kernel, expertParts) : [kernel]
  })
  return { ...graph, nodes }
}

/** The experts' kernel as several that TensorFlow runs side by side, each for a part of the channels of every expert. */
function inParts(kernel: GraphNode, parts: number): GraphNode[] {
  const { name } = kernel
  const each = Array.from({ length: parts }, (_, part) => ({
    ...kernel,
    name: `${name}/part${part}`,
    attr: { ...kernel.attr, part: { i: part }, parts: { i: parts } },
  }))
  const attr = { T: { type: DATA_TYPES.float32 }, N: { i: parts } }
  return [...each, { name, op: 'AddN', input: each.map((part) => part.name), attr }]
}

/** A pass: each product of matrices gets the kernel that is the fastest for it. */
export function chooseProducts(graph: Recording, { products }: Plan): Recording {
  return products === 'fewRows' ? withFewRows(graph) : withOneDnn(graph, products)
}

/** The label that oneDNN's kernels are registered with. */
const ONEDNN = { s: Buffer.from('MklNameChangeOp') }

function withFewRows(graph: Recording): Recording {
  const few = new Map(graph.products.filter(hasFewRows).map((product) => [product.node, product]))
  const nodes = graph.nodes.map((node) => {
    const product = few.get(node)
    if (!product) return node
    return { ...node, op: FEW_ROWS_PRODUCT, attr: { transposed: { b: product.right.transposed } } }
  })
  return { ...graph, nodes }
}

/** Whether it is of one matrix by another, one of them of few rows, or few columns. */
function hasFewRows({ node, left, right }: Product): boolean {
  const single = [left, right].every(({ shape }) => shape.slice(0, -2).every((size) => size === 1))
  const rows = left.shape.at(-2) as number
  const columns = right.shape.at(right.transposed ? -2 : -1) as number
  return isOf(node, ['float32']) && single && !left.transposed && Math.min(rows, columns) <= LIMITS.fewRows
}

/** Attention's softmax gets it too, where its scores are many; a router's does not: its ties are settled for Eigen's. */
function withOneDnn(graph: Recording, types: readonly Dtype[]): Recording {
  const ofStacks = graph.products.filter(
    (product) => product.shape.length > 2 && multiplications(product) >= LIMITS.slowStack,
  )
  const scores = new Set(ofStacks.map(({ left }) => nodeOf(left.ref)))
  const taken = ({ op, name }: GraphNode) =>
    op === 'MatMul' || op === 'BatchMatMulV2' || (op === 'Softmax' && scores.has(name))
  const nodes = graph.nodes.map((node) =>
    taken(node) && isOf(node, types)
      ? { ...node, op: `_Mkl${node.op}`, attr: { ...node.attr, _kernel: ONEDNN } }
      : node,
  )
  return { ...graph, nodes }
}

function isOf({ attr }: GraphNode, types: readonly Dtype[]): boolean {
  return attr.T && 'type' in attr.T
    ? types.some((type) => DATA_TYPES[type] === (attr.T as { type: number }).type)
    : false
}
