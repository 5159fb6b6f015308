import { backend, type Processor } from '../backend/backend.ts'
import { FUSED, type FusedName } from '../backend/fused.ts'
import { hasOneDnn } from '../backend/tensorflow.ts'
import { SMALL_PRODUCT } from '../model/attention/grouped.ts'
import { FEW_ROWS } from './fuse.ts'
import { DATA_TYPES, type GraphDtype, type GraphNode, nodeOf } from './protobuf.ts'
import type { Recording } from './recorder.ts'
import { multiplications, size } from './side-by-side.ts'

/** How the processor's threads share the work of a graph. */
export interface Sharing {
  /**
   * What TensorFlow shares among threads: nodes, side by side, each op on one thread; or every op; or nothing, so that all of it
   * stays in the thread that asks for a run. The fused kernels share their work by themselves.
   */
  shared: 'nodes' | 'ops' | 'nothing'
  threads: number
  /** The types of numbers for which oneDNN's kernels compute products and attention's softmax instead of Eigen's. */
  onednn: readonly GraphDtype[]
}

/** Weights with fewer numbers count as small: two and what they are multiplied with stay in caches; the more so, the fewer rows. */
const smallWeights = (rows: number) => (rows <= 256 ? 2 ** 21 : 2 ** 19)

/** Many rows are shared node by node among up to this many threads; it was measured with two, and graphs are not much wider. */
const MOST_THREADS = 4

/** What oneDNN's kernels are the faster ones for, on a processor of these features (as `doctor` names them). */
export function fasterByOneDnn(features: readonly string[]): readonly GraphDtype[] {
  const multipliesBfloat16 = features.includes('amx_bf16') || features.includes('avx512_bf16')
  return multipliesBfloat16 ? ['float32', 'bfloat16'] : ['float32'] // float16: no processor for it was at hand
}

function fasterHere({ features }: Processor): readonly GraphDtype[] {
  if (!hasOneDnn()) return []
  const isHeldBack = Boolean(process.env.ONEDNN_MAX_CPU_ISA) // it then lacks kernels that the processor would run
  return fasterByOneDnn(isHeldBack ? [] : features)
}

/** Whether so many rows take a processor as long as reading the weights; false where ops do not run on one. */
export function readsWeightsMostly(rows: number): boolean {
  return rows <= FEW_ROWS && backend().processor !== null
}

/** Fused kernels that are the faster way for few rows only. */
const FEW_ROWS_ONLY: readonly FusedName[] = ['attention', 'expert']

/** Which fused kernels a graph of so many rows may have, its weights in half precision or not. */
export function fusedFor(rows: number, { half = false } = {}): ReadonlySet<FusedName> {
  if (!backend().processor) return new Set()
  const names = Object.keys(FUSED) as FusedName[]
  const fits = (name: FusedName) =>
    (readsWeightsMostly(rows) || !FEW_ROWS_ONLY.includes(name)) && !(half && 'readsWeights' in FUSED[name])
  return new Set(names.filter(fits))
}

/** What was measured to be fastest (docs/log.md); null where ops do not run on a processor. */
export function shareOf(recording: Recording, rows: number): Sharing | null {
  const { processor } = backend()
  if (!processor) return null
  const { threads } = processor
  if (readsWeightsMostly(rows)) return { shared: 'nothing', threads, onednn: [] }
  const bySide = typicalWeights(recording) < smallWeights(rows) && threads <= MOST_THREADS
  return {
    shared: threads === 1 ? 'nothing' : bySide ? 'nodes' : 'ops',
    threads,
    onednn: fasterHere(processor),
  }
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

/** The nodes with oneDNN's kernels for products, and for the softmax of attention, of numbers of these `types`. */
export function withOneDnn(
  { nodes, products }: Pick<Recording, 'nodes' | 'products'>,
  types: readonly GraphDtype[],
): GraphNode[] {
  const ofStacks = products.filter(
    (product) => product.shape.length > 2 && multiplications(product) >= SMALL_PRODUCT,
  )
  const scores = new Set(ofStacks.map(({ left }) => nodeOf(left.ref))) // a router's softmax stays: its ties are settled for Eigen's
  const taken = ({ op, name }: GraphNode) =>
    op === 'MatMul' || op === 'BatchMatMulV2' || (op === 'Softmax' && scores.has(name))
  const kernel = { s: Buffer.from('MklNameChangeOp') }
  const numbers = new Set<number>(types.map((type) => DATA_TYPES[type]))
  const isOfType = ({ attr }: GraphNode) => attr.T && 'type' in attr.T && numbers.has(attr.T.type)
  return nodes.map((node) =>
    taken(node) && isOfType(node)
      ? { ...node, op: `_Mkl${node.op}`, attr: { ...node.attr, _kernel: kernel } }
      : node,
  )
}
