import type {
  BenchReport,
  Breakdown,
  Dispatch,
  LayerDims,
  RoutingKind,
  Row,
  Sweep,
} from '../../bench/schema.ts'
import { moeLayerFlops, moeLayerWeightBytes } from '../../src/cost/index.ts'
import type { Executor } from '../../src/model/ways.ts'
import { report, row } from './rows.ts'

const BASE: LayerDims = { D: 512, H: 1024, E: 16, K: 2 }
const TOKENS = [1, 16, 256, 1024]

/** Made-up milliseconds: a start an op, and the slower of arithmetic and memory at a machine of 100 GFLOP/s and 10 GB/s. */
function madeUpMs(flops: number, bytes: number, products: number, executor: Executor): number {
  const start = executor === 'recorded' ? 0.02 : 0.1
  return products * start + Math.max(flops / 80e6, bytes / 10e6)
}

function spreadAround(ms: number): Partial<Row> {
  const samplesMs = Array.from({ length: 21 }, (_, i) => ms * (0.9 + 0.01 * i))
  return { n: 21, medianMs: ms, p10Ms: 0.92 * ms, p90Ms: 1.08 * ms, p99Ms: 1.1 * ms, samplesMs }
}

/** All variants of a case of the layer. */
function layerRows(dims: LayerDims, T: number, routing: RoutingKind, slow: number): Row[] {
  const { D, H, E, K } = dims
  const group = `layer/D${D}-H${H}-E${E}-K${K}/T${T}/${routing}`
  const touched = routing === 'worst' ? K : Math.min(E, T * K)
  const width = { 'twin-active': K, 'twin-total': E }
  const dispatches: Dispatch[] = [
    'dense',
    'sparse',
    ...(T * K <= 64 ? (['gather'] as const) : []),
    'twin-active',
    'twin-total',
  ]
  return (['recorded', 'eager'] as const).flatMap((executor) => {
    const cost = (dispatch: Dispatch) => {
      if (dispatch === 'twin-active' || dispatch === 'twin-total') {
        const weights = 3 * D * H * width[dispatch]
        return { flops: 2 * T * weights, bytes: 4 * weights, products: 1 }
      }
      const experts = dispatch === 'dense' ? E : touched
      const bytes = moeLayerWeightBytes(dims, experts)
      return { flops: moeLayerFlops({ T, ...dims }, dispatch), bytes, products: experts }
    }
    const timeOf = (dispatch: Dispatch) => {
      const { flops, bytes, products } = cost(dispatch)
      return madeUpMs(flops, bytes, products, executor) * (dispatch === 'sparse' ? slow : 1)
    }
    return dispatches.map((dispatch) => {
      const { flops, bytes } = cost(dispatch)
      const ms = timeOf(dispatch)
      const speedup = timeOf('dense') / ms
      const ideal = dispatch === 'dense' || dispatch === 'twin-total' ? 1 : E / K
      return row({
        id: `${group}/${dispatch}/${executor}`, group, dispatch, executor, routing, dims, tokens: T,
        flops, flopsCounted: flops, weightBytes: bytes, ...spreadAround(ms),
        tokensPerSecond: (1000 * T) / ms, gflopsPerSecond: flops / ms / 1e6,
        shareOfMatmul: flops / ms / 1e8, shareOfBandwidth: bytes / ms / 1e7,
        speedup, speedupLow: dispatch === 'dense' ? null : 0.95 * speedup, speedupHigh: dispatch === 'dense' ? null : 1.05 * speedup, idealSpeedup: ideal,
      }) // biome-ignore format: a row
    })
  })
}

/** Prefill and decode of a model with three times more FLOPs when dense. */
function modelRows(kind: 'prefill' | 'decode', batch: number): Row[] {
  const tokens = batch * (kind === 'prefill' ? 128 : 1)
  return (['dense', 'sparse'] as const).map((dispatch) => {
    const flops = tokens * (dispatch === 'dense' ? 7.2e6 : 2.5e6)
    const bytes = dispatch === 'dense' || kind === 'prefill' ? 14e6 : 4.5e6
    const ms = madeUpMs(flops, bytes, 20, 'recorded')
    const group = `${kind}/B${batch}/S128`
    return row({
      id: `${group}/${dispatch}/recorded`, group, kind, dispatch, executor: 'recorded', dims: null, tokens, batch, context: 128,
      flops, flopsCounted: flops, weightBytes: bytes, ...spreadAround(ms), gflopsPerSecond: flops / ms / 1e6,
      speedup: dispatch === 'dense' ? 1 : 1.6, idealSpeedup: dispatch === 'dense' ? 1 : 2.88,
    }) // biome-ignore format: a row
  })
}

/** A decoded token of the model in widths, as fast as its bytes are few. */
function widthRows(): Row[] {
  const widths = [
    ['float32', 'float32', 4, 0.4825],
    ['4 bits in groups of 32', 'int4', 0.64, 0.4842],
  ] as const
  return widths.flatMap(([held, id, bytes, loss]) =>
    (['dense', 'sparse'] as const).map((dispatch) => {
      const group = 'width/B1/S128'
      const weightBytes = bytes * (dispatch === 'dense' ? 3.5e6 : 1.1e6)
      const ms = 0.2 + weightBytes / 10e6
      return row({
        id: `${group}/${id}/${dispatch}/recorded`, group, kind: 'width', dispatch, executor: 'recorded', dims: null, tokens: 1, context: 137,
        flops: 2e6, flopsCounted: 2e6, weightBytes, ...spreadAround(ms), tokensPerSecond: 1000 / ms, gflopsPerSecond: 2 / ms,
        shareOfBandwidth: weightBytes / ms / 1e7, speedup: dispatch === 'dense' ? 1 : 1.6, idealSpeedup: dispatch === 'dense' ? 1 : 2.88,
        held, heldBytes: bytes * 3.6e6, loss, lossTokens: 11_862,
      }) // biome-ignore format: a row
    }),
  )
}

function breakdownOf(T: number, rows: Row[]): Breakdown {
  const group = `layer/D512-H1024-E16-K2/T${T}/real`
  const whole = rows.find(({ id }) => id === `${group}/sparse/eager`)!.medianMs!
  const parts = {
    routerMs: 0.1 * whole,
    groupMs: 0.06 * whole,
    matmulMs: 0.75 * whole,
    combineMs: 0.12 * whole,
  }
  return {
    id: `${group}/breakdown`, group, tokens: T, dims: BASE, ...parts, sumMs: 1.03 * whole, totalMs: whole, n: 21,
  } // biome-ignore format: a breakdown
}

/** A report with every part, all numbers made up by a simple rule. `slow`: how much longer sparse takes than the rule says. */
export function fullReport(slow = 1): BenchReport {
  const sizes: Record<'E' | 'K' | 'D' | 'H', number[]> = {
    E: [4, 8, 16, 32],
    K: [1, 2, 4, 8],
    D: [256, 512, 1024],
    H: [512, 1024, 2048],
  }
  const layers = new Map<string, Row[]>()
  const add = (dims: LayerDims, T: number, routing: RoutingKind) => {
    const made = layerRows(dims, T, routing, slow)
    layers.set(made[0].group, made)
    return made[0].group
  }
  const sweeps: Sweep[] = [
    { kind: 'layer', axis: 'T', groups: TOKENS.map((T) => add(BASE, T, 'real')) },
    ...(['E', 'K', 'D', 'H'] as const).map(
      (axis): Sweep => ({
        kind: 'layer',
        axis,
        groups: sizes[axis].map((value) => add({ ...BASE, [axis]: value }, 256, 'real')),
      }),
    ),
    {
      kind: 'layer',
      axis: 'routing',
      groups: (['real', 'uniform', 'worst'] as const).map((kind) => add(BASE, 256, kind)),
    },
    ...(['prefill', 'decode'] as const).map(
      (kind): Sweep => ({ kind, axis: 'batch', groups: [1, 4].map((batch) => `${kind}/B${batch}/S128`) }),
    ),
  ]
  const models = (['prefill', 'decode'] as const).flatMap((kind) =>
    [1, 4].flatMap((batch) => modelRows(kind, batch)),
  )
  const rows = [...models, ...widthRows(), ...[...layers.values()].flat()]
  const conditions = { ...report([]).conditions, executor: 'recorded' as const }
  return report(rows, { conditions, sweeps, breakdown: [1, 256].map((T) => breakdownOf(T, rows)) })
}
