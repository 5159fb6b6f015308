import { EXECUTORS, type Executor } from '../../src/load-model.ts'
import { subjectOf, tokenSweep } from '../select.ts'
import { type BenchReport, type Dispatch, type Row, TWINS } from '../types.ts'

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

/** Timed rows of the sweep over T by one executor, all dispatches, fewest tokens first. */
export function sweepOf(report: BenchReport, executor: Executor): TimedRow[] {
  const subject = { ...subjectOf(report), executor }
  return ALL_DISPATCHES.flatMap((dispatch) => tokenSweep(report.rows, subject, dispatch)).filter(isTimed)
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
