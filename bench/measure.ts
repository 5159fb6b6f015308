import { countMatmulFlops } from '../src/cost/index.ts'
import type { MachineReadings } from '../src/device/index.ts'
import { type MemoryLimit, memoryProblem } from '../src/device/memory.ts'
import { hitRate } from '../src/model/weights.ts'
import { quantile, ratioInterval, summarize } from '../src/samples.ts'
import type { Case, CaseFacts, Described, OpenVariant, Variant } from './cases/case.ts'
import type { RoutingSpread, Row } from './schema.ts'
import { isTwin } from './schema.ts'
import { MIN_WARMUP_ROUNDS, type SamplingLimits, sampleInterleaved } from './timing.ts'

/** Reads that are timed to say what the read at the end of a call costs. */
const TIMED_READS = 7
/** The first variants of a case, dense and sparse, are what it is about: they may take longer. */
const TELLING = 2

export interface MeasureOptions {
  limits: SamplingLimits
  /** What the fewest samples may take: of dense and sparse of the first executor, and of all. A variant beyond it is left out. */
  most: { tellingMs: number; allMs: number }
  /** As read before the case. */
  machine: MachineReadings
  /** Reads it once more behind the case: shares in rows are of the mean of both. */
  readAgain?(): Promise<MachineReadings>
  memory: MemoryLimit
  seed: number
  signal: AbortSignal
}

/** A variant on its way: opened and counted, or left out. */
interface Tried {
  variant: Described
  open: OpenVariant | null
  /** Of one run. */
  flopsCounted: number | null
  /** What one run takes, about; 0 when left out. */
  runMs: number
  skipped: string | null
}

/** Times the variants of a case in turn and describes each in a row. */
export async function measureCase(work: Case, options: MeasureOptions): Promise<Row[]> {
  const { limits, signal, machine } = options
  const started = performance.now()
  const tried: Tried[] = []
  try {
    openVariants(work, options, tried)
    const opened = tried.flatMap(({ open }) => open ?? [])
    const budgetMs = Math.max(0, limits.budgetMs - (performance.now() - started))
    const { samples, warmupRounds, stable } = await sampleInterleaved(opened, { ...limits, budgetMs }, signal)
    const readMs = quantile(
      Array.from({ length: TIMED_READS }, () => timed(work.read)),
      0.5,
    )
    const measured = { readMs, warmupRounds, warmupStable: stable }
    const around = meanOf(machine, (await options.readAgain?.()) ?? machine)
    for (const { variant, why } of work.missing ?? []) tried.push(skip(variant, why))
    const rows = tried.map((one) => {
      const own = one.open ? samples[opened.indexOf(one.open)] : []
      return rowOf(work, one, own, measured, around)
    })
    return withSpeedups(rows, options.seed)
  } finally {
    for (const { open } of tried) open?.dispose()
  }
}

function meanOf(
  a: MachineReadings,
  b: MachineReadings,
): Pick<MachineReadings, 'matmulGflops' | 'memoryGbPerS'> {
  return {
    matmulGflops: (a.matmulGflops + b.matmulGflops) / 2,
    memoryGbPerS: (a.memoryGbPerS + b.memoryGbPerS) / 2,
  }
}

/** Opens and counts one variant after the other into `tried`, while memory and time last. */
function openVariants(work: Case, options: MeasureOptions, tried: Tried[]): void {
  const { limits, most, memory, signal } = options
  const runs = limits.minSamples + MIN_WARMUP_ROUNDS
  let needed = 0
  for (const [i, variant] of work.variants.entries()) {
    const mostMs = Math.max(most.allMs, i < TELLING ? most.tellingMs : 0)
    const allowed = mostMs - needed
    const problem = signal.aborted
      ? 'interrupted'
      : allowed <= 0
        ? 'the time of its case was spent'
        : memoryProblem(variant.bytes, memory)
    const one = problem
      ? skip(variant, problem)
      : tryVariant(variant, { runs, allowed, mostMs }, options.machine, countedBefore(variant, tried))
    needed += runs * one.runMs
    tried.push(one)
  }
}

/** FLOPs of the same work in another width, whose products are the same ones: counting takes longer than they do. */
function countedBefore({ held, dispatch }: Described, tried: readonly Tried[]): number | null {
  const alike = tried.find(({ variant, open }) => open && held && variant.dispatch === dispatch)
  return alike?.flopsCounted ?? null
}

function skip(variant: Described, why: string): Tried {
  return { variant, open: null, flopsCounted: null, runMs: 0, skipped: why }
}

/** Opens a variant and counts its products, unless so many runs of it would take more than `allowed` ms. */
function tryVariant(
  variant: Variant,
  { runs, allowed, mostMs }: { runs: number; allowed: number; mostMs: number },
  machine: MachineReadings,
  counted: number | null,
): Tried {
  const tooLong = (ms: number, how: string) =>
    skip(
      variant,
      `about ${seconds(ms)} a run ${how}, too long to repeat ${runs} times in ${seconds(mostMs)} together with the others`,
    )
  const least = variant.flops / machine.matmulGflops / 1e6
  if (runs * least > allowed) return tooLong(least, "at the speed of the machine's matrix product")
  const open = variant.open()
  const { flopsCounted, ms } = counted === null ? count(open) : { flopsCounted: counted, ms: timedRun(open) }
  // The first run makes and moves what later ones find, and counting costs something: it may mislead.
  const again = runs * ms > allowed && ms < allowed / 2
  const runMs = again ? Math.min(ms, timedRun(open)) : ms
  if (runs * runMs <= allowed) return { variant, open, flopsCounted, runMs, skipped: null }
  open.dispose()
  return tooLong(runMs, 'when tried')
}

function timed(work: () => void): number {
  const start = performance.now()
  work()
  return performance.now() - start
}

/** Rows of a case that could not be made, so that it is known to be missing. */
export function leftOut(facts: CaseFacts, variants: Described[], why: string): Row[] {
  const unmeasured = { readMs: null, warmupRounds: 0, warmupStable: false }
  return variants.map((variant) => rowOf({ ...facts, spread: null }, skip(variant, why), [], unmeasured))
}

/** FLOPs of one run, and what a run takes. */
function count(open: OpenVariant): { flopsCounted: number; ms: number } {
  if (open.plain) {
    open.preparePlain?.()
    return { flopsCounted: countMatmulFlops(open.plain).flops, ms: timedRun(open) }
  }
  open.prepare?.()
  let flopsCounted = 0
  const ms = timed(() => {
    flopsCounted = countMatmulFlops(open.run).flops
  })
  return { flopsCounted, ms }
}

function timedRun(open: OpenVariant): number {
  open.prepare?.()
  return timed(open.run)
}

function rowOf(
  work: CaseFacts & { spread: RoutingSpread | null },
  { variant, open, flopsCounted: counted, skipped }: Tried,
  samples: number[],
  measured: Pick<Row, 'readMs' | 'warmupRounds' | 'warmupStable'>,
  machine?: ReturnType<typeof meanOf>,
): Row {
  const { dispatch, executor, idealSpeedup, weightBytes } = variant
  const { group, kind, routing, dims, tokens, batch, context, callsPerRun } = work
  const { held, heldBytes, loss, lossTokens } = variant.held ?? NOT_HELD
  const samplesMs = samples.map((ms) => ms / callsPerRun)
  const summary = samplesMs.length > 0 ? summarize(samplesMs) : UNMEASURED
  const flopsCounted = counted === null ? null : counted / callsPerRun
  const { medianMs } = summary
  /** An amount of one call a second. */
  const rate = (amount: number | null) =>
    amount === null || medianMs === null ? null : (1000 * amount) / medianMs
  const share = (value: number | null, of: number | undefined) =>
    value === null || of === undefined ? null : value / 1e9 / of
  return {
    id: [group, ...(variant.held ? [variant.held.width] : []), dispatch, executor].join('/'),
    group,
    kind,
    dispatch,
    executor,
    routing,
    dims,
    tokens,
    batch,
    context,
    flops: variant.flops / callsPerRun,
    flopsCounted,
    weightBytes: weightBytes === null ? null : Math.round(weightBytes),
    spread: isTwin(dispatch) ? null : work.spread,
    ...summary,
    tokensPerSecond: rate(tokens),
    gflopsPerSecond: share(rate(flopsCounted), 1),
    shareOfMatmul: share(rate(flopsCounted), machine?.matmulGflops),
    shareOfBandwidth: share(rate(weightBytes), machine?.memoryGbPerS),
    speedup: null,
    speedupLow: null,
    speedupHigh: null,
    idealSpeedup,
    read: work.readBy,
    ...measured,
    samplesMs,
    skipped,
    weightSets: variant.weightSets,
    fromCache: work.fromCache,
    expertHitRate: open?.reads ? hitRate(open.reads) : null,
    held,
    heldBytes,
    loss,
    lossTokens,
  }
}

/** Of cases of a layer, and of the model as it is loaded. */
const NOT_HELD = { held: null, heldBytes: null, loss: null, lossTokens: null }
const UNMEASURED = { n: 0, medianMs: null, p10Ms: null, p90Ms: null, p99Ms: null, outliers: 0 }

/** Against the dense row of the same executor and width. */
function withSpeedups(rows: Row[], seed: number): Row[] {
  return rows.map((row) => {
    const dense = rows.find(
      ({ dispatch, executor, held }) =>
        dispatch === 'dense' && executor === row.executor && held === row.held,
    )
    if (!dense || dense.medianMs === null || row.medianMs === null) return row
    const interval = row === dense ? null : ratioInterval(dense.samplesMs, row.samplesMs, seed)
    return {
      ...row,
      speedup: dense.medianMs / row.medianMs,
      speedupLow: interval?.low ?? null,
      speedupHigh: interval?.high ?? null,
    }
  })
}

function seconds(ms: number): string {
  return `${(ms / 1000).toPrecision(2)} s`
}
