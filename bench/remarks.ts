import type { BenchReport, Row } from './types.ts'

/** A load above this share of the threads before the start takes time from what is measured. */
const BUSY_SHARE = 0.5
/** More than ideal by this factor is not the dispatch's doing. */
const BEYOND_IDEAL = 1.1
/** Names given in one remark; of more, how many. */
const NAMES_SHOWN = 4

/** What a reader has to know before believing the rows: left out, cut short, miscounted, or measured on a busy machine. */
export function remarks(report: BenchReport): string[] {
  const { rows, peers, interrupted, conditions, assertion } = report
  const { loadAverage, runtime, preset } = conditions
  const busy = loadAverage !== null && loadAverage > BUSY_SHARE * runtime.threads
  const beyond = rows.filter(
    (row) =>
      row.speedup !== null &&
      row.speedup > BEYOND_IDEAL * row.idealSpeedup &&
      row.dispatch !== 'twin-total' &&
      row.dispatch !== 'twin-active',
  )
  const wrong = rows.filter(({ flops, flopsCounted }) => flopsCounted !== null && flopsCounted !== flops)
  return [
    ...(interrupted ? ['Interrupted: only what was done until then is here.'] : []),
    ...leftOutRemarks(rows),
    ...(wrong.length > 0 ? [`Counted FLOPs differ from the formula: ${names(wrong)}.`] : []),
    ...(beyond.length > 0
      ? [`Faster than the ideal, so disturbed by something else: ${names(beyond)}.`]
      : []),
    ...(busy
      ? [
          `The machine was busy before the start (load average ${loadAverage} on ${runtime.threads} threads): repeat on an idle one before believing these times.`,
        ]
      : []),
    ...(preset === 'gpu'
      ? ['Half precision and bfloat16 are not here: the engine computes in float32.']
      : []),
    ...missingRemark(report),
    ...peers.flatMap(({ problem }) => problem ?? []),
    ...(assertion ? [assertion.sentence] : []),
  ]
}

/** What has no row to say that it is missing. */
function missingRemark({ interrupted, breakdown, capacity, tracing, loading }: BenchReport): string[] {
  if (interrupted) return []
  const missing = [
    ...(breakdown.length === 0 ? ['the parts of a sparse dispatch'] : []),
    ...(capacity.length === 0 ? ['limited capacity'] : []),
    ...(tracing === null ? ['tracing'] : []),
    ...(loading === null ? ['loading'] : []),
  ]
  return missing.length > 0
    ? [`Not measured, for want of time or because it failed: ${missing.join(', ')}.`]
    : []
}

/** One remark a reason. */
function leftOutRemarks(rows: Row[]): string[] {
  const byReason = new Map<string, Row[]>()
  for (const row of rows) {
    if (row.skipped !== null) byReason.set(row.skipped, [...(byReason.get(row.skipped) ?? []), row])
  }
  return [...byReason].map(([reason, left]) => `${names(left)} left out: ${reason}.`)
}

function names(rows: Row[]): string {
  const shown = rows.slice(0, NAMES_SHOWN).map(({ id }) => id)
  const more = rows.length - shown.length
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ')
}
