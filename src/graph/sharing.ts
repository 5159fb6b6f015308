import { SMALL_PRODUCT } from '../model/attention.ts'
import { hasOneDnn, processorFeatures, processorThreads } from '../runtime/backends.ts'
import type { SwigluForm } from '../runtime/tensorflow-ops.ts'
import { DATA_TYPES, type GraphDtype, type GraphNode, nodeOf } from './protobuf.ts'
import type { Recording } from './recorder.ts'
import { FEW_ROWS, multiplications, size } from './side-by-side.ts'

/** How the processor's threads share the work of a graph. */
export interface Sharing {
  /**
   * What is shared among threads: nodes, side by side, each op on one thread; or every op; or nothing, so that all of it stays
   * in the thread that asks for a run, which spares handing over.
   */
  shared: 'nodes' | 'ops' | 'nothing'
  threads: number
  /** What oneDNN's kernels compute instead of Eigen's: attention's softmax and products (those of stacks); or all products too. */
  onednn: 'attention' | 'all'
  /** The types of numbers that they are taken for. */
  types: readonly GraphDtype[]
}

/** With few rows, a graph of fewer multiplications is over before a second thread is awake. */
const LEAST_WORK = 3 * 2 ** 20

/** Weights with fewer numbers count as small: two and what they are multiplied with stay in caches; the more so, the fewer rows. */
const smallWeights = (rows: number) => (rows <= 256 ? 2 ** 21 : 2 ** 19)

/** Many rows are shared node by node among up to this many threads; it was measured with two, and graphs are not much wider. */
const MOST_THREADS = 4

/** Of few rows these many are multiplied faster by oneDNN with AVX-512, standing on the left; fewer by Eigen. */
const SEVERAL_ROWS = 5

/** What oneDNN's kernels are the faster ones for, on a processor of these features (as `doctor` names them). */
export function fasterByOneDnn(features: readonly string[]): {
  types: readonly GraphDtype[]
  severalRows: boolean
} {
  const multipliesBfloat16 = features.includes('amx_bf16') || features.includes('avx512_bf16')
  return {
    types: multipliesBfloat16 ? ['float32', 'bfloat16'] : ['float32'], // float16: no processor for it was at hand
    severalRows: features.includes('avx512f'),
  }
}

function fasterHere(): ReturnType<typeof fasterByOneDnn> {
  if (!hasOneDnn()) return { types: [], severalRows: false }
  const isHeldBack = Boolean(process.env.ONEDNN_MAX_CPU_ISA) // it then lacks kernels that the processor would run
  return fasterByOneDnn(isHeldBack ? [] : processorFeatures())
}

/** How experts multiply theirs of so many rows in all. */
export function expertForm(rows: number): SwigluForm {
  const several = rows >= SEVERAL_ROWS && rows <= FEW_ROWS
  return several && processorThreads() !== null && fasterHere().severalRows ? 'rowsOnLeft' : 'views'
}

/** Whether so many rows take a processor as long as reading the weights; false where ops do not run on one. */
export function readsWeightsMostly(rows: number): boolean {
  return rows <= FEW_ROWS && processorThreads() !== null
}

/** What was measured to be fastest (docs/log.md); null where ops do not run on a processor. */
export function shareOf(recording: Recording, rows: number): Sharing | null {
  const threads = processorThreads()
  if (threads === null) return null
  const few = rows <= FEW_ROWS
  const alone = threads === 1 || (few && work(recording) < LEAST_WORK)
  const bySide = few || (typicalWeights(recording) < smallWeights(rows) && threads <= MOST_THREADS)
  return {
    shared: alone ? 'nothing' : bySide ? 'nodes' : 'ops',
    threads,
    onednn: few && expertForm(rows) !== 'rowsOnLeft' ? 'attention' : 'all',
    types: fasterHere().types,
  }
}

/** Multiplications of all its products. */
function work({ products }: Recording): number {
  return products.reduce(
    (sum, product) => sum + multiplications(product) * size({ shape: product.shape.slice(0, -2) }),
    0,
  )
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

/** The nodes with oneDNN's kernels where they are asked for. */
export function withOneDnn(
  { nodes, products }: Recording,
  { onednn, types }: Pick<Sharing, 'onednn' | 'types'>,
): GraphNode[] {
  const ofStacks = products.filter(
    (product) => product.shape.length > 2 && multiplications(product) >= SMALL_PRODUCT,
  )
  const stacks = new Set(ofStacks.map(({ node }) => node))
  const scores = new Set(ofStacks.map(({ left }) => nodeOf(left.ref))) // a router's softmax stays: its ties are settled for Eigen's
  const taken = (node: GraphNode) => {
    if (node.op === 'MatMul' || node.op === 'BatchMatMulV2') return onednn === 'all' || stacks.has(node)
    return node.op === 'Softmax' && scores.has(node.name)
  }
  const kernel = { s: Buffer.from('MklNameChangeOp') }
  const numbers = new Set<number>(types.map((type) => DATA_TYPES[type]))
  const isOfType = ({ attr }: GraphNode) => attr.T && 'type' in attr.T && numbers.has(attr.T.type)
  return nodes.map((node) =>
    taken(node) && isOfType(node)
      ? { ...node, op: `_Mkl${node.op}`, attr: { ...node.attr, _kernel: kernel } }
      : node,
  )
}
