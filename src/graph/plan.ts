import { type Backend, backend, type Processor } from '../backend/backend.ts'
import type { Dtype } from '../backend/dtypes.ts'
import { CARD_FORMS, FUSED, type FusedName } from '../backend/kernels.ts'
import { LIMITS } from '../backend/limits.ts'
import { hasOneDnn } from '../backend/tensorflow.ts'

/** How a graph is run: everything that depends on its number of rows, the weights' type and the machine. */
export interface Plan {
  /** What products with weights that are held in this type are computed in; the others in float32. */
  dtype: Dtype
  /** The fused kernels that take the place of steps. */
  fused: ReadonlySet<FusedName>
  /** Parts of the routed experts' fused kernel, which TensorFlow runs side by side. */
  expertParts: number
  /** Who multiplies: the addon's kernel where one side has few rows, or oneDNN for these types of numbers; else Eigen. */
  products: 'fewRows' | readonly Dtype[]
  /** Whether products take weights as they are held whatever the number of rows. */
  held: boolean
  /** Whether our kernels may round many rows to bfloat16, which is asked for by the dtype. */
  rounds: boolean
  /** Whether all of it stays in the thread that asks for a run. The fused kernels share their work among threads themselves. */
  inCallingThread: boolean
  /** A graph whose typical matrix of weights has fewer numbers is run node by node, each on one thread; else op by op, on all. */
  smallWeights: number
  /** How many threads compute. */
  threads: number
  /** Whether a card runs it: nodes are then made to be few, as each is launched by itself. */
  onCard: boolean
}

/** What measuring found to be fastest for graphs that multiply so many rows with weights, on a processor or a card. */
export function planFor(
  { rows = Number.POSITIVE_INFINITY, dtype = 'float32' }: { rows?: number; dtype?: Dtype } = {},
  { processor, onCard = false }: Pick<Backend, 'processor'> & { onCard?: boolean } = backend(),
): Plan {
  if (onCard) return { ...TENSORFLOWS_OWN, dtype, onCard, fused: new Set(CARD_FORMS) }
  if (!processor) return { ...TENSORFLOWS_OWN, dtype }
  const { threads } = processor
  const few = rows <= LIMITS.fewRows
  const products = few ? 'fewRows' : hasOneDnn() ? fasterByOneDnn(processor) : []
  const rounds = !few && dtype === 'bfloat16' && processor.pairs
  const half = dtype !== 'float32' && products.includes(dtype) && !rounds // ours are faster than oneDNN's
  const inCallingThread = few || threads === 1
  const names = Object.keys(FUSED) as FusedName[]
  const tiles = processor.tiles && !half
  const fits = (name: FusedName) => {
    if (name === 'attention') return few // of many rows oneDNN is the faster way
    return !('readsWeights' in FUSED[name]) || (!half && (few || tiles || name === 'experts'))
  }
  const small = LIMITS.smallWeights.find((limit) => rows <= limit.rows)!
  return {
    dtype: half ? dtype : 'float32', // few rows take as long as their weights are read: in float32, too
    fused: new Set(names.filter(fits)),
    expertParts: inCallingThread ? 1 : Math.min(threads, LIMITS.expertParts),
    products,
    held: !half,
    rounds,
    inCallingThread,
    smallWeights: inCallingThread || threads > LIMITS.nodeThreads ? 0 : small.numbers,
    threads,
    onCard,
  }
}

/** As TensorFlow does it by itself. */
const TENSORFLOWS_OWN: Omit<Plan, 'dtype'> = {
  fused: new Set(),
  expertParts: 1,
  products: [],
  held: false,
  rounds: false,
  inCallingThread: false,
  smallWeights: 0,
  threads: 1,
  onCard: false,
}

/** The types of numbers whose products, and attention's softmax, oneDNN computes faster than Eigen. */
function fasterByOneDnn({ features }: Processor): readonly Dtype[] {
  const heldBack = Boolean(process.env.ONEDNN_MAX_CPU_ISA) // it then lacks kernels that the processor would run
  const bfloat16 = !heldBack && (features.includes('amx_bf16') || features.includes('avx512_bf16'))
  return bfloat16 ? ['float32', 'bfloat16'] : ['float32'] // float16: no processor for it was at hand
}

/** How calls are cut into steps of few shapes, each of which is a graph. */
export interface StepsPlan {
  /** Tokens that a step may take, ascending. */
  tokens: readonly number[]
  /** Tokens up to which a piece is padded up and not cut. */
  padded: number
  /** Columns that a cache has room for at first, and how often as many where they do not suffice. */
  columns: { first: number; growth: number }
  /** Graphs kept. */
  graphs: number
}

/** What suits the device, decided once for all of a model's calls. */
export function stepsPlanFor({ onCard }: Pick<Backend, 'onCard'> = backend()): StepsPlan {
  return onCard ? LIMITS.cardSteps : LIMITS.steps
}

/** A run of a call's columns that one step takes. */
export interface Piece {
  /** First of the call's T columns. */
  from: number
  /** Columns it takes. */
  count: number
  /** Tokens of the step that serves it; what is over is padding on the right, overwritten by the next piece. */
  stepTokens: number
}

/** T columns as pieces: as few as possible, and little padding. */
export function piecesOf(T: number, { tokens, padded }: StepsPlan = stepsPlanFor()): Piece[] {
  const pieces: Piece[] = []
  for (let from = 0; from < T; ) {
    const rest = T - from
    const paddedUp = tokens.find((size) => size >= rest)
    const whole = tokens.findLast((size) => size <= rest) as number
    const stepTokens = paddedUp !== undefined && paddedUp <= padded ? paddedUp : whole
    const count = Math.min(rest, stepTokens)
    pieces.push({ from, count, stepTokens })
    from += count
  }
  return pieces
}

/** Columns of a cache to have room for: the first number, or that so often grown. */
export function roomFor(columns: number, { columns: { first, growth } }: StepsPlan = stepsPlanFor()): number {
  let room = first
  while (room < columns) room *= growth
  return room
}
