import { countMatmulFlops } from '../src/cost/index.ts'
import { quantile, summarize } from './statistics.ts'
import { type SamplingLimits, sampleInterleaved } from './timing.ts'
import type { Case, Row, Variant } from './types.ts'

/** Reads that are timed to say what the read at the end of a call costs. */
const TIMED_READS = 7
/** A variant is left out when its samples alone would take this many budgets. */
const TOO_LONG = 2

/** Times the variants of a case in turn and describes each in a row. `gflops` is what the machine's matmul reaches. */
export async function measureCase(
  work: Case,
  limits: SamplingLimits,
  gflops: number,
  signal: AbortSignal,
): Promise<Row[]> {
  const skipped = work.variants.map((variant) => reasonToSkip(variant, limits, gflops))
  const measured = work.variants.filter((_, i) => skipped[i] === null)
  const counted = measured.map(countOnce)
  const sampling = await sampleInterleaved(measured, limits, signal)
  const readMs = timeReads(work)
  const rows = work.variants.map((variant, i): Row => {
    const place = measured.indexOf(variant)
    const samplesMs = (sampling.samples[place] ?? []).map((ms) => ms / work.callsPerRun)
    const flopsCounted = place < 0 ? null : counted[place] / work.callsPerRun
    const summary =
      samplesMs.length > 0 ? summarize(samplesMs) : { n: 0, medianMs: null, p10Ms: null, p90Ms: null }
    return {
      kind: work.kind,
      dispatch: variant.dispatch,
      tokens: work.tokens,
      context: work.context,
      flops: variant.flops / work.callsPerRun,
      flopsCounted,
      weightBytes: variant.weightBytes,
      spread: work.spread,
      ...summary,
      gflopsPerSecond:
        flopsCounted !== null && summary.medianMs !== null ? flopsCounted / summary.medianMs / 1e6 : null,
      speedup: null,
      idealSpeedup: variant.idealSpeedup,
      readMs,
      warmupRounds: sampling.warmupRounds,
      warmupStable: sampling.stable,
      samplesMs,
      skipped: skipped[i],
    }
  })
  return withSpeedups(rows)
}

/** Against the dense row of the same case. */
function withSpeedups(rows: Row[]): Row[] {
  const dense = rows.find(({ dispatch }) => dispatch === 'dense')?.medianMs ?? null
  return rows.map((row) => ({
    ...row,
    speedup: dense !== null && row.medianMs !== null ? dense / row.medianMs : null,
  }))
}

function countOnce(variant: Variant): number {
  variant.prepare?.()
  return countMatmulFlops(variant.eager ?? variant.run).flops
}

function reasonToSkip(
  { flops }: Variant,
  { minSamples, budgetMs }: SamplingLimits,
  gflops: number,
): string | null {
  const runMs = flops / gflops / 1e6
  if (runMs * minSamples <= TOO_LONG * budgetMs) return null
  return `about ${(runMs / 1000).toPrecision(2)} s a run at this machine's ${gflops.toPrecision(2)} GFLOP/s, too long to repeat ${minSamples} times`
}

function timeReads(work: Case): number {
  const times = Array.from({ length: TIMED_READS }, () => {
    const start = performance.now()
    work.read()
    return performance.now() - start
  })
  return quantile(times, 0.5)
}
