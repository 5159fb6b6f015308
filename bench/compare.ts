import { median } from 'd3-array'
import { CHANGE_RULE, changes, type Verdict, verdictOf } from './change.ts'
import type { BenchReport, Conditions, Row } from './schema.ts'

/** A report and the name of its file. */
export interface Named {
  file: string
  report: BenchReport
}

const SEED = 1
/** Of threads; above it something else took part of the machine's time. */
const BUSY_SHARE = 0.5
/** Readings of the machine that differ by more than this say that it is not the same machine now. */
const SAME_READING = 0.1
/** Counts of one call are quotients of whole numbers. */
const ROUNDING = 1e-9

export type BenchComparison = ReturnType<typeof compareReports>
export type ComparedRow = ReturnType<typeof comparedRows>[number]
type ChangedFlops = ReturnType<typeof changedFlops>[number]

/** What changed from A to B beyond noise; rows are matched by id. Ratios are B by A: below 1 is faster. Unknown is null. */
export function compareReports(a: Named, b: Named) {
  const inB = new Map(b.report.rows.map((row) => [row.id, row]))
  const inA = new Set(a.report.rows.map(({ id }) => id))
  const pairs = a.report.rows.flatMap((row): [Row, Row][] => {
    const other = inB.get(row.id)
    return other ? [[row, other]] : []
  })
  const rows = comparedRows(pairs)
  const flops = pairs.flatMap(([rowA, rowB]) => changedFlops(rowA, rowB))
  const medianRatio = median(rows, ({ ratio }) => ratio) ?? null
  return {
    format: 'tinymoe-bench-comparison' as const,
    version: 1 as const,
    a: sideOf(a),
    b: sideOf(b),
    conclusion: conclude(rows, flops, medianRatio),
    /** Why times may differ though the engine does not, a sentence each. */
    warnings: warningsOf(a.report, b.report),
    differences: differencesOf(a.report, b.report),
    /** Rows that do more or less work: no question of time. */
    flops,
    medianRatio,
    rows,
    onlyA: a.report.rows.flatMap(({ id }) => (inB.has(id) ? [] : [id])),
    onlyB: b.report.rows.flatMap(({ id }) => (inA.has(id) ? [] : [id])),
    rule: CHANGE_RULE,
  }
}

/** Where and when one of the two was measured. */
function sideOf({ file, report: { date, conditions } }: Named) {
  return { file, date, commit: conditions.commit, preset: conditions.preset }
}

function comparedRows(pairs: [Row, Row][]) {
  const samples = pairs.map(([a, b]) => ({ a: a.samplesMs, b: b.samplesMs }))
  return changes(samples, SEED).map((change, i) => {
    const [a, b] = pairs[i]
    return {
      id: a.id,
      verdict: verdictOf(change),
      aMs: a.medianMs,
      bMs: b.medianMs,
      ...(change ?? { ratio: null, low: null, high: null }),
      nA: a.n,
      nB: b.n,
      /** Over dense of the same session: what a slower machine alone leaves as it is. */
      speedupA: a.speedup,
      speedupB: b.speedup,
    }
  })
}

function changedFlops(rowA: Row, rowB: Row) {
  const kinds = [
    ['by formula', rowA.flops, rowB.flops],
    ['counted', rowA.flopsCounted, rowB.flopsCounted],
  ] as const
  return kinds.flatMap(([what, a, b]) => {
    if (a === null || b === null || Math.abs(a - b) <= ROUNDING * Math.abs(a)) return []
    return [{ id: rowA.id, what, a, b }]
  })
}

function conclude(rows: ComparedRow[], flops: ChangedFlops[], medianRatio: number | null): string {
  const number = (verdict: Verdict) => rows.filter((row) => row.verdict === verdict).length
  if (rows.length === 0) return 'No row is in both reports, so nothing was compared.'
  const known = rows.length - number('not known')
  if (known === 0) {
    return `None of the ${rows.length} rows in both reports has enough samples on both sides, so nothing was compared.`
  }
  const unknown = number('not known') > 0 ? `, ${number('not known')} without enough samples` : ''
  const typical = medianRatio === null ? '' : ` The median row takes ${medianRatio.toFixed(3)} times as long.`
  const work = flops.length > 0 ? ` The work itself changed: FLOPs of ${flops.length} entries differ.` : ''
  return `Of ${known} rows compared, B is slower in ${number('slower')} and faster in ${number('faster')}; ${number('within noise')} are within noise${unknown}.${typical}${work}`
}

type Fact = string | number | boolean | null

/** Every condition that differs, those for which alone times may differ first. */
export function differencesOf(a: BenchReport, b: BenchReport) {
  const [ofA, ofB] = [factsOf(a), factsOf(b)]
  return ofA.flatMap(([matters, what, value], i) => {
    const other = ofB[i][2]
    return value === other ? [] : [{ what, a: plain(value), b: plain(other), matters }]
  })
}

function factsOf({
  version,
  conditions,
  model,
  interrupted,
}: BenchReport): [matters: boolean, what: string, Fact][] {
  const { runtime, machine } = conditions
  return [
    [true, 'device', runtime.device],
    [true, 'device name', runtime.deviceName],
    [true, 'threads', runtime.threads],
    [true, 'backend', runtime.backend],
    [true, 'platform', runtime.platform],
    [true, 'TensorFlow', runtime.tensorflowVersion],
    [true, 'tfjs', runtime.tfjsVersion],
    [true, 'driver', runtime.driver],
    [true, 'Node', runtime.nodeVersion],
    [true, 'TensorFloat-32', conditions.tf32],
    [true, 'frequency governor', conditions.governor],
    [true, 'preset', conditions.preset],
    [true, 'weights', conditions.dtype],
    [true, 'sets of weights that calls take turns on', version === 2 ? 'one' : 'several'],
    [true, 'model', model.name],
    [true, 'seed', conditions.seed],
    [false, 'interrupted', interrupted],
    [false, 'commit', conditions.commit],
    [false, 'load average before', conditions.loadAverage],
    [false, 'matrix product, GFLOP/s', Number(machine.matmulGflops.toPrecision(3))],
    [false, 'memory, GB/s', Number(machine.memoryGbPerS.toPrecision(3))],
  ]
}

function plain(value: Fact): string | number | null {
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : value
}

function warningsOf(a: BenchReport, b: BenchReport): string[] {
  const unlike = differencesOf(a, b).flatMap(({ matters, what }) => (matters ? [what] : []))
  const said = `The sessions are not alike (${unlike.join(', ')}): a change of time may come from that.`
  return [
    ...(unlike.length > 0 ? [said] : []),
    ...machineWarning(a.conditions, b.conditions),
    ...busyWarning('A', a.conditions),
    ...busyWarning('B', b.conditions),
  ]
}

function machineWarning({ machine: a }: Conditions, { machine: b }: Conditions): string[] {
  const readings = [
    ['matrix product', b.matmulGflops / a.matmulGflops],
    ['memory', b.memoryGbPerS / a.memoryGbPerS],
  ] as const
  const changed = readings.filter(([, ratio]) => Math.abs(Math.log(ratio)) > Math.log(1 + SAME_READING))
  if (changed.length === 0) return []
  const said = changed.map(([what, ratio]) => `its ${what} ran at ${ratio.toFixed(2)} times the speed`)
  return [
    `The machine itself was not the same in B (${said.join(', ')}): compare speed-ups over dense rather than times.`,
  ]
}

function busyWarning(side: string, { loadAverage, runtime }: Conditions): string[] {
  if (loadAverage === null || loadAverage <= BUSY_SHARE * runtime.threads) return []
  return [`The machine was busy before ${side} (load average ${loadAverage} on ${runtime.threads} threads).`]
}
