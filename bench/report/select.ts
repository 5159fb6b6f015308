import { isDeepStrictEqual } from 'node:util'
import { min } from 'd3-array'
import { EXECUTORS, type Executor } from '../../src/model/ways.ts'
import {
  ALL_DISPATCHES,
  type Axis,
  type BenchReport,
  type Dispatch,
  isTwin,
  type LayerDims,
  type PeerRow,
  type Row,
  type Sweep,
} from '../schema.ts'

/** A row that was timed. */
export type TimedRow = Row & { medianMs: number; p10Ms: number; p90Ms: number }
export type ComparedRow = TimedRow & { speedup: number }

export function isTimed(row: Row): row is TimedRow {
  return row.medianMs !== null && row.p10Ms !== null && row.p90Ms !== null
}

export function isCompared(row: Row): row is ComparedRow {
  return isTimed(row) && row.speedup !== null
}

/** A timed row of a case whose variants are held in several widths. */
export type HeldRow = TimedRow & { held: string; heldBytes: number; weightBytes: number }

/** The widest first. */
export function heldRows(rows: readonly Row[]): HeldRow[] {
  return rows.filter(
    (row): row is HeldRow =>
      isTimed(row) && row.held !== null && row.heldBytes !== null && row.weightBytes !== null,
  )
}

/** The same work in the widest that there is. */
export function widestOf({ dispatch }: HeldRow, rows: readonly HeldRow[]): HeldRow | undefined {
  return rows.find((other) => other.dispatch === dispatch && other.held === rows[0].held)
}

/** What conclusions are about: the layer of the sizes asked for, by the executor that models run by. */
export interface Subject {
  executor: Executor
  dims: LayerDims
  machine: Speeds
}

export function subjectOf({ conditions, layer }: Pick<BenchReport, 'conditions' | 'layer'>): Subject {
  const { D, H, E, K } = layer
  return { executor: conditions.executor, dims: { D, H, E, K }, machine: conditions.machine }
}

type Speeds = Pick<BenchReport['conditions']['machine'], 'matmulGflops' | 'memoryGbPerS'>

/** The least that a call may take, ms: the longer of its FLOPs at the speed of the plain product and its weights at that of memory. */
function leastMs({ flops, weightBytes }: Row, { matmulGflops, memoryGbPerS }: Speeds): number {
  return Math.max(flops / matmulGflops, (weightBytes ?? 0) / memoryGbPerS) / 1e6
}

/** What the machine allows: how many times as fast as dense a row is when both take the least they may. Null where memory is not read. */
export function allowedSpeedup(row: Row, dense: Row, machine: Speeds): number | null {
  return row.fromCache ? null : leastMs(dense, machine) / leastMs(row, machine)
}

/** The same for the dense row among others of the same case and executor; null without one. */
export function allowedAmong(rows: readonly Row[], row: Row, machine: Speeds): number | null {
  const dense = rows.find(
    ({ dispatch, group, executor }) =>
      dispatch === 'dense' && group === row.group && executor === row.executor,
  )
  return dense ? allowedSpeedup(row, dense, machine) : null
}

/** Rows of one dispatch in the sweep over T, fewest tokens first. */
export function tokenSweep(rows: Row[], { executor, dims }: Subject, dispatch: Dispatch): Row[] {
  return rows
    .filter(
      (row) =>
        row.kind === 'layer' &&
        row.routing === 'real' &&
        !row.fromCache &&
        row.dispatch === dispatch &&
        row.executor === executor &&
        isDeepStrictEqual(row.dims, dims),
    )
    .sort((a, b) => a.tokens - b.tokens)
}

/** Rows of the sweep over T by one executor, timed or not, all dispatches. */
export function plannedSweep(report: BenchReport, executor = report.conditions.executor): Row[] {
  const subject = { ...subjectOf(report), executor }
  return ALL_DISPATCHES.flatMap((dispatch) => tokenSweep(report.rows, subject, dispatch))
}

/** The first measured case of a kind, by an executor: one sequence, the base context. */
export function firstCase(rows: Row[], kind: Row['kind'], executor: Executor): Row[] {
  const first = rows.find((row) => row.kind === kind)
  return rows.filter((row) => row.group === first?.group && row.executor === executor)
}

/** Rows along a sweep by the executor that conclusions are about. */
export function rowsAlong({ rows, conditions }: BenchReport, { groups }: Sweep): Row[] {
  return groups.flatMap((group) =>
    rows.filter((row) => row.group === group && row.executor === conditions.executor),
  )
}

/** Sweeps of the layer over one size or the routing, of which more was measured than the place that all share. */
export function tellingSweeps({ rows, sweeps }: BenchReport): Sweep[] {
  const overTokens = sweeps.find(({ axis }) => axis === 'T')?.groups ?? []
  return sweeps.filter(({ kind, axis, groups }) => {
    const isOwn = ({ group }: Row) => groups.includes(group) && (axis === 'T' || !overTokens.includes(group))
    return kind === 'layer' && axis !== 'grid' && rows.some((row) => isOwn(row) && row.medianMs !== null)
  })
}

export const AXIS_WORDS: Record<Axis, string> = {
  T: 'tokens T',
  E: 'experts E',
  K: 'experts a token K',
  D: 'width D',
  H: 'width of an expert H',
  routing: 'how tokens are routed',
  batch: 'sequences of a call',
  context: 'keys in sight',
  grid: 'every combination',
}

/** Where a row stands along an axis. */
export function placeOf({ dims, tokens, routing, batch, context }: Row, axis: Axis): string {
  return String({ ...dims, T: tokens, routing, batch, context }[axis as 'T'])
}

/** What was measured of a case by one executor. */
export interface Line {
  /** Any row of it: all have the case's sizes. */
  row: Row
  by: Partial<Record<Dispatch, Row>>
}

/** Rows by case and executor, in their order. */
export function linesOf(rows: Row[]): Line[] {
  const lines = new Map<string, Line>()
  for (const row of rows) {
    const key = `${row.group} ${row.executor}`
    const line = lines.get(key) ?? { row, by: {} }
    line.by[row.dispatch] = row
    lines.set(key, line)
  }
  return [...lines.values()]
}

export function isMeasured({ by }: Line): boolean {
  return Object.values(by).some(({ medianMs }) => medianMs !== null)
}

/** Of the model's cases of a kind, by batch and keys. */
export function modelRows({ rows }: BenchReport, kind: 'prefill' | 'decode'): Row[] {
  return rows
    .filter((row) => row.kind === kind)
    .sort((a, b) => a.batch - b.batch || (a.context ?? 0) - (b.context ?? 0))
}

/** Our fastest time for the work of a peer; null where no case of ours is the same. */
export function oursFor(report: BenchReport, peer: PeerRow): number | null {
  const { dims } = subjectOf(report)
  const workOf = ({ kind, tokens, batch, context }: PeerRow | Row) => ({ kind, tokens, batch, context })
  const same = report.rows.filter(
    (row) =>
      isDeepStrictEqual(workOf(row), workOf(peer)) &&
      row.routing === 'real' &&
      !isTwin(row.dispatch) &&
      (row.dims === null || isDeepStrictEqual(row.dims, dims)),
  )
  return min(same, ({ medianMs }) => medianMs) ?? null
}

/** Executors that have timed rows of a kind; the one that conclusions are about first. */
export function executorsOf({ rows, conditions }: BenchReport, kind: 'layer' | 'model'): Executor[] {
  const main = conditions.executor
  const isKind = (row: Row) => (row.kind === 'layer') === (kind === 'layer')
  return [main, ...EXECUTORS.filter((executor) => executor !== main)].filter((executor) =>
    rows.some((row) => isKind(row) && row.executor === executor && isTimed(row)),
  )
}

export function dispatchesIn(rows: readonly { dispatch: Dispatch }[]): Dispatch[] {
  return ALL_DISPATCHES.filter((name) => rows.some(({ dispatch }) => dispatch === name))
}

export const EXECUTOR_WORDS: Record<Executor, string> = {
  recorded: 'recorded as one graph',
  eager: 'op by op',
}
