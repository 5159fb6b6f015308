import { EXECUTORS, type Executor } from '../../src/load-model.ts'
import { type BenchReport, type Dispatch, type Row, TWINS } from '../schema.ts'
import { listed } from './markup.ts'
import { subjectOf, tokenSweep } from './select.ts'

/** A row that was timed. */
export type TimedRow = Row & { medianMs: number; p10Ms: number; p90Ms: number }
export type ComparedRow = TimedRow & { speedup: number }

export const ALL_DISPATCHES: readonly Dispatch[] = ['dense', 'sparse', 'gather', ...TWINS]

export function isTimed(row: Row): row is TimedRow {
  return row.medianMs !== null && row.p10Ms !== null && row.p90Ms !== null
}

export function isCompared(row: Row): row is ComparedRow {
  return isTimed(row) && row.speedup !== null
}

/** Rows of the sweep over T by one executor, timed or not, all dispatches, fewest tokens first. */
export function plannedSweep(report: BenchReport, executor: Executor): Row[] {
  const subject = { ...subjectOf(report), executor }
  return ALL_DISPATCHES.flatMap((dispatch) => tokenSweep(report.rows, subject, dispatch))
}

/** Those of them that were timed. */
export function sweepOf(report: BenchReport, executor: Executor): TimedRow[] {
  return plannedSweep(report, executor).filter(isTimed)
}

/** A sentence an executor that says which rows of the sweep over T are not shown; empty when all are. */
export function notShown(what: string, rows: readonly Row[], isShown: (row: Row) => boolean): string {
  const sentences = EXECUTORS.flatMap((executor) => {
    const own = rows.filter((row) => row.executor === executor)
    const dispatches = new Map<string, Dispatch[]>()
    for (const dispatch of dispatchesIn(own)) {
      const all = own.filter((row) => row.dispatch === dispatch)
      const left = all.filter((row) => !isShown(row))
      if (left.length === 0) continue
      const where =
        left.length === all.length ? 'at all sizes' : `at ${listed(left.map(({ tokens }) => `T=${tokens}`))}`
      dispatches.set(where, [...(dispatches.get(where) ?? []), dispatch])
    }
    const missing = [...dispatches].map(([where, names]) => `${listed(names)} ${where}`)
    return missing.length > 0 ? [`${what} (${EXECUTOR_WORDS[executor]}): ${missing.join('; ')}.`] : []
  })
  return sentences.join(' ')
}

/** Executors that have timed rows of a kind; the one that conclusions are about first. */
export function executorsOf({ rows, conditions }: BenchReport, kind: 'layer' | 'model'): Executor[] {
  const main = conditions.executor
  const ordered = [main, ...EXECUTORS.filter((executor) => executor !== main)]
  const isKind = (row: Row) => (row.kind === 'layer') === (kind === 'layer')
  return ordered.filter((executor) =>
    rows.some((row) => isKind(row) && row.executor === executor && isTimed(row)),
  )
}

export function dispatchesIn(rows: readonly Row[]): Dispatch[] {
  return ALL_DISPATCHES.filter((name) => rows.some(({ dispatch }) => dispatch === name))
}

export const EXECUTOR_WORDS: Record<Executor, string> = {
  recorded: 'recorded as one graph',
  eager: 'op by op',
}

/** Different values in order. */
export function distinct(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b)
}
