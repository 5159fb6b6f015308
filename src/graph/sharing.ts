import { processorThreads } from '../runtime/backends.ts'
import { DATA_TYPES, type GraphNode, nodeOf } from './protobuf.ts'
import type { Recording } from './recorder.ts'
import { FEW_ROWS, multiplications, size } from './side-by-side.ts'

/** How the processor's threads share the work of a graph. */
export interface Sharing {
  /** Nodes run side by side, each op on one thread, by so many threads; null: every op is shared among all threads. */
  nodesBySide: number | null
  /**
   * What oneDNN's kernels compute instead of Eigen's: attention's softmax and products (those of stacks); or all products that
   * are `BatchMatMulV2`, so projections too; or all, so experts too.
   */
  onednn: 'attention' | 'batches' | 'all'
}

/** Weights with fewer numbers count as small: two of them and what they are multiplied with fit into a processor's caches. */
const SMALL_WEIGHTS = 2 ** 19
/** Many rows are shared node by node among up to this many threads; it was measured with two, and graphs are not much wider. */
const MOST_THREADS = 4

/** Whether so many rows take a processor as long as reading the weights; false where ops do not run on one. */
export function readsWeightsMostly(rows: number): boolean {
  return rows <= FEW_ROWS && processorThreads() !== null
}

/** What was measured to be fastest (docs/log.md); null where ops do not run on a processor. */
export function shareOf(recording: Recording, rows: number): Sharing | null {
  const threads = processorThreads()
  if (threads === null) return null
  if (rows <= FEW_ROWS) return { nodesBySide: threads, onednn: 'attention' }
  const small = typicalWeights(recording) < SMALL_WEIGHTS && threads <= MOST_THREADS
  return small ? { nodesBySide: threads, onednn: 'all' } : { nodesBySide: null, onednn: 'batches' }
}

/** Numbers in the median of the matrices of weights that a graph multiplies with; infinite if it has none. */
function typicalWeights({ nodes, products }: Recording): number {
  const read = new Set(nodes.filter(({ op }) => op === 'ReadVariableOp').map(({ name }) => name))
  const sizes = products
    .flatMap(({ left, right }) => [left, right])
    .filter(({ ref }) => read.has(nodeOf(ref)))
    .map(size)
    .sort((a, b) => a - b)
  return sizes[Math.floor(sizes.length / 2)] ?? Number.POSITIVE_INFINITY
}

/** Up to so many multiplications a matrix Eigen takes a product of stacks as a whole, and is fast; from there on it is not. */
const EIGEN_IS_FAST = 2 ** 15

/** The nodes with oneDNN's kernels where they are asked for and this TensorFlow has them: Linux on x86-64. */
export function withOneDnn({ nodes, products }: Recording, which: Sharing['onednn']): GraphNode[] {
  if (process.platform !== 'linux' || process.arch !== 'x64') return nodes
  const ofStacks = products.filter(
    (product) => product.shape.length > 2 && multiplications(product) >= EIGEN_IS_FAST,
  )
  const stacks = new Set(ofStacks.map(({ node }) => node))
  const scores = new Set(ofStacks.map(({ left }) => nodeOf(left.ref))) // a router's softmax stays: its ties are settled for Eigen's
  const taken = (node: GraphNode) => {
    if (node.op === 'MatMul') return which === 'all'
    if (node.op === 'BatchMatMulV2') return which !== 'attention' || stacks.has(node)
    return node.op === 'Softmax' && scores.has(node.name)
  }
  const kernel = { s: Buffer.from('MklNameChangeOp') }
  const isFloat = ({ attr }: GraphNode) => attr.T && 'type' in attr.T && attr.T.type === DATA_TYPES.float32
  return nodes.map((node) =>
    taken(node) && isFloat(node)
      ? { ...node, op: `_Mkl${node.op}`, attr: { ...node.attr, _kernel: kernel } }
      : node,
  )
}
