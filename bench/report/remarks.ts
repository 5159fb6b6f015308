import { group } from 'd3-array'
import type { RuntimeReport } from '../../src/device/index.ts'
import { type BenchReport, CASE_KINDS, type CaseKind, isTwin, type Row } from '../schema.ts'

/** A load above this share of the threads before the start takes time from what is measured. */
const BUSY_SHARE = 0.5
/** More than ideal by this factor is not what fewer FLOPs give. */
const BEYOND_IDEAL = 1.1
/** Names given in one remark; of more, how many. */
const NAMES_SHOWN = 4

/**
 * What a reader has to know before believing the rows: left out, cut short, miscounted, or measured on a busy machine. One
 * remark a kind, however many rows it is about.
 */
export function remarks(report: BenchReport): string[] {
  const { rows, peers, interrupted, conditions, assertion } = report
  const { loadAverage, runtime } = conditions
  const busy = loadAverage !== null && loadAverage > BUSY_SHARE * runtime.threads
  const beyond = rows.filter(
    ({ speedup, idealSpeedup, dispatch, fromCache }) =>
      speedup !== null && speedup > BEYOND_IDEAL * idealSpeedup && !isTwin(dispatch) && !fromCache,
  )
  const wrong = rows.filter(({ flops, flopsCounted }) => flopsCounted !== null && flopsCounted !== flops)
  const when = (condition: boolean, remark: string) => (condition ? [remark] : [])
  return [
    ...when(interrupted, 'Interrupted: only what was done until then is here.'),
    ...slowerDeviceRemark(runtime),
    ...when(
      busy,
      `The machine was busy before the start (load average ${loadAverage} on ${runtime.threads} threads): repeat on an idle one before believing these times.`,
    ),
    ...when(wrong.length > 0, `Counted FLOPs differ from the formula: ${names(wrong)}.`),
    ...when(
      beyond.length > 0,
      `Faster than fewer FLOPs explain (disturbed, or in a report of version 2 from a cache): ${names(beyond)}.`,
    ),
    ...leftOutRemark(rows),
    ...missingRemark(report),
    ...peers.flatMap(({ problem }) => problem ?? []),
    ...(assertion ? [assertion.sentence] : []),
  ]
}

/** What has no row to say that it is missing, and belongs to what was measured. */
function missingRemark({
  rows,
  interrupted,
  breakdown,
  capacity,
  tracing,
  loading,
  conditions,
}: BenchReport): string[] {
  const kinds = new Set(rows.map(({ kind }) => kind))
  const isAsked = (...asked: CaseKind[]) => kinds.size === 0 || asked.every((kind) => kinds.has(kind))
  const there = {
    'the parts of a sparse dispatch': breakdown.length > 0 || !isAsked('layer'),
    'limited capacity': capacity.length > 0 || !isAsked('layer'),
    tracing: tracing !== null || !isAsked('decode'),
    loading: loading !== null || !isAsked('prefill', 'decode', 'layer'),
  }
  const missing = Object.entries(there).flatMap(([what, is]) => (is ? [] : [what]))
  if (interrupted || missing.length === 0 || conditions.preset === 'gpu-smoke') return []
  return [`Not measured, for want of time or because it failed: ${missing.join(', ')}.`]
}

/** A bench without TensorFlow is a bench of something else; whoever did not ask for that has to see why. */
function slowerDeviceRemark({ device, candidates }: RuntimeReport): string[] {
  if (device === 'cuda' || device === 'cpu') return []
  const native = candidates.find((candidate) => candidate.device === 'cpu')
  return native ? [`Run by ${device}, not by native TensorFlow on the processor: ${native.reason}.`] : []
}

/** How many rows of each kind, and of each reason; the report lists every one. */
function leftOutRemark(rows: Row[]): string[] {
  const left = rows.filter(({ skipped }) => skipped !== null)
  if (left.length === 0) return []
  const kinds = CASE_KINDS.flatMap((kind) => {
    const among = (some: Row[]) => some.filter((row) => row.kind === kind).length
    return among(left) > 0 ? [`${among(left)} of ${among(rows)} of ${kind}`] : []
  })
  // Reasons that differ in their numbers alone are one, in the words of the first.
  const alike = [...group(left, ({ skipped }) => skipped?.replace(/\d+(?:\.\d+)?/g, '#')).values()]
  const reasons = alike
    .toSorted((a, b) => b.length - a.length)
    .map((some) => `${some[0].skipped} (${some.length})`)
  return [`Rows left out: ${kinds.join(', ')}. Why: ${reasons.join('; ')}.`]
}

function names(rows: Row[]): string {
  const shown = rows.slice(0, NAMES_SHOWN).map(({ id }) => id)
  const more = rows.length - shown.length
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ')
}
