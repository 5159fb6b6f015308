import { DATA_TYPES, type GraphNode } from './protobuf.ts'
import type { Product, Recording } from './recorder.ts'

/** Up to this many rows a product takes as long as reading its weights, and the fused kernels serve best. */
export const FEW_ROWS = 16

/**
 * The nodes with the kernels of src/native that were noted while the graph was recorded. The steps whose place they take
 * stay beside them, without effect unless fetched.
 */
export function withKernels({ nodes, fused }: Recording, parts: number): GraphNode[] {
  return nodes.flatMap((node) => {
    const kernel = fused?.get(node.name)
    if (!kernel) return [node]
    return kernel.op === 'TinymoeExperts' && parts > 1 ? inParts(kernel, parts) : [kernel]
  })
}

/** The experts' kernel as several that TensorFlow runs side by side, each for a part of the channels of every expert. */
function inParts(kernel: GraphNode, parts: number): GraphNode[] {
  const { name } = kernel
  const each = Array.from({ length: parts }, (_, part) => ({
    ...kernel,
    name: `${name}/part${part}`,
    attr: { part: { i: part }, parts: { i: parts } },
  }))
  const attr = { T: { type: DATA_TYPES.float32 }, N: { i: parts } }
  return [...each, { name, op: 'AddN', input: each.map((part) => part.name), attr }]
}

/** The nodes with the kernel of src/native for single products where it multiplies few rows. */
export function withOwnProducts({ nodes, products }: Pick<Recording, 'nodes' | 'products'>): GraphNode[] {
  const ours = new Set(products.filter(hasFewRows).map(({ node }) => node))
  return nodes.map((node) => (ours.has(node) ? { ...node, attr: { ...node.attr, _kernel: KERNEL } } : node))
}

/** By this name it is registered. */
const KERNEL = { s: Buffer.from('tinymoe') }

/** Whether that kernel multiplies it: one matrix by another, one of them few rows, or few columns. */
function hasFewRows({ node, left, right }: Product): boolean {
  const single = [left, right].every(({ shape }) => shape.slice(0, -2).every((size) => size === 1))
  const { T } = node.attr
  const isFloat = T && 'type' in T && T.type === DATA_TYPES.float32
  const rows = left.shape.at(-2) as number
  const columns = right.shape.at(right.transposed ? -2 : -1) as number
  return Boolean(isFloat) && single && !left.transposed && Math.min(rows, columns) <= FEW_ROWS
}
