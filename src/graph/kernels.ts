import { isDeepStrictEqual } from 'node:util'
import type { Dtype } from '../backend/dtypes.ts'
import { FUSED, limits, PRODUCT } from '../backend/kernels.ts'
import { LIMITS } from '../backend/limits.ts'
import { groupAttributes } from './nodes.ts'
import type { Plan } from './plan.ts'
import { DATA_TYPES, FLOAT, type GraphNode, nodeOf } from './protobuf.ts'
import { type FusedNode, multiplications, type Product, type Recording } from './recorder.ts'

/**
 * A pass: the fused kernels that were noted while the graph was recorded, each in the place of its steps, which stay beside it
 * without effect unless fetched.
 */
export function fuse(graph: Recording, { expertParts, products, rounds }: Plan): Recording {
  const nodes = graph.nodes.flatMap((node) => {
    const noted = graph.fused?.get(node.name)
    if (!noted) return [node]
    const kernel = onHeld(noted, graph, rounds)
    // Of many rows, tiles take held ones. Held unlike, each product reads its own: the kernel would get them widened, all experts of them.
    const widens = 'readsWeights' in FUSED[noted.fused] && noted.input.some((ref) => graph.weights?.has(ref))
    if (kernel === noted && (widens || (noted.fused === 'expert' && products !== 'fewRows'))) return [node]
    return kernel.op === FUSED.experts.op && expertParts > 1 ? inParts(kernel, expertParts) : [kernel]
  })
  return { ...graph, nodes }
}

/** A kernel that reads its weights as they are held, if all alike, and may round many rows if `rounds`. */
function onHeld(kernel: FusedNode, { weights }: Recording, rounds: boolean): FusedNode {
  const held = kernel.input.flatMap((ref) => weights?.get(ref) ?? [])
  const attr = held.map(({ dtype, groups }) => ({
    W: { type: DATA_TYPES[dtype] },
    ...(groups && groupAttributes(groups)),
  }))
  if (attr.length < 2 || !attr.every((other) => isDeepStrictEqual(other, attr[0]))) return kernel
  const input = kernel.input.map((ref) => weights?.get(ref)?.held ?? ref)
  const rounded = rounds && 'limits' in FUSED[kernel.fused] && { rounds: { b: true } }
  return { ...kernel, input, attr: { ...kernel.attr, ...attr[0], ...rounded } }
}

/** The experts' kernel as several that TensorFlow runs side by side, each for a part of the channels of every expert. */
function inParts(kernel: GraphNode, parts: number): GraphNode[] {
  const { name } = kernel
  const each = Array.from({ length: parts }, (_, part) => ({
    ...kernel,
    name: `${name}/part${part}`,
    attr: { ...kernel.attr, part: { i: part }, parts: { i: parts } },
  }))
  const sum = { name, op: 'AddN', input: each.map((part) => part.name) }
  return [...each, { ...sum, attr: { T: FLOAT, N: { i: parts } } }]
}

/** A pass: each product of matrices gets the kernel that is the fastest for it. */
export function chooseProducts(graph: Recording, { products, held, rounds }: Plan): Recording {
  const few = products === 'fewRows' ? LIMITS.fewRows : -1
  const ours = withOurs(graph, { float: few, held: held ? Number.POSITIVE_INFINITY : few, rounds })
  return products === 'fewRows' ? ours : withOneDnn(ours, products)
}

/** The label that oneDNN's kernels are registered with. */
const ONEDNN = { s: Buffer.from('MklNameChangeOp') }

/** The most rows that our kernel multiplies, below 0 if it does not: with weights of float32, and with others as they are held. */
interface MostRows {
  float: number
  held: number
  /** Whether it may round many rows. */
  rounds: boolean
}

function withOurs(graph: Recording, most: MostRows): Recording {
  const kernels = new Map(
    graph.products.flatMap((product) => {
      const kernel = kernelFor(product, graph, most)
      return kernel ? [[product.node, kernel]] : []
    }),
  )
  return { ...graph, nodes: graph.nodes.map((node) => kernels.get(node) ?? node) }
}

/** The kernel for a product of one matrix by another, one of them of no more rows, or columns, than that; else null. */
function kernelFor(
  { node, left, right }: Product,
  { weights, exact }: Recording,
  most: MostRows,
): GraphNode | null {
  const single = [left, right].every(({ shape }) => shape.slice(0, -2).every((size) => size === 1))
  if (!isOf(node, ['float32']) || !single || left.transposed) return null
  const rows = left.shape.at(-2) as number
  const columns = right.shape.at(right.transposed ? -2 : -1) as number
  const given = Object.entries(limits).map(([name, i]) => [name, { i }])
  const attributes = { transposed: { b: right.transposed }, ...Object.fromEntries(given) }
  const [ofLeft, ofRight] = [left, right].map(({ ref }) => weights?.get(ref))
  const held = ofLeft ?? (right.transposed ? ofRight : undefined) // rows [out, in] are multiplied as they are held
  if (!held) {
    return Math.min(rows, columns) > most.float ? null : { ...node, op: PRODUCT, attr: attributes }
  }
  if ((held === ofLeft ? columns : rows) > most.held) return null
  const input = held === ofLeft ? [held.held, right.ref] : [left.ref, held.held]
  const type = { [held === ofLeft ? 'L' : 'R']: { type: DATA_TYPES[held.dtype] } }
  const rounded = most.rounds && !exact?.has(held.dataId) && { rounds: { b: true } }
  const groups = held.groups && groupAttributes(held.groups)
  return { ...node, op: PRODUCT, input, attr: { ...attributes, ...rounded, ...type, ...groups } }
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
