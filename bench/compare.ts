import { quantile } from '../src/samples.ts'
import { CHANGE_RULE, changes, type Verdict, verdictOf } from './change.ts'
import type { BenchReport, Conditions, Row } from './schema.ts'

/** Where and when one of the two was measured. */
export interface Side {
  file: string
  date: string
  commit: string | null
  preset: string
}

/** A condition that differs. Unknown is null. */
export interface Difference {
  what: string
  a: string | number | null
  b: string | number | null
  /** Times may differ for it alone. */
  matters: boolean
}

/** A row of both reports. Ratios are B by A: below 1 is faster. Null where either has no samples, or too few. */
export interface ComparedRow {
  id: string
  verdict: Verdict
  aMs: number | null
  bMs: number | null
  ratio: number | null
  low: number | null
  high: number | null
  nA: number
  nB: number
  /** Over dense of the same session: what a slower machine alone leaves as it is. */
  speedupA: number | null
  speedupB: number | null
}

/** The same row does more or less work: no question of time. */
export interface ChangedFlops {
  id: string
  what: 'by formula' | 'counted'
  a: number
  b: number
}

export interface BenchComparison {
  format: 'tinymoe-bench-comparison'
  version: 1
  a: Side
  b: Side
  conclusion: string
  /** Why times may differ though the engine does not, a sentence each. */
  warnings: string[]
  differences: Difference[]
  flops: ChangedFlops[]
  /** Median of all ratios; null without any. */
  medianRatio: number | null
  rows: ComparedRow[]
  onlyA: string[]
  onlyB: string[]
  rule: string
}

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

/** What changed from A to B beyond noise; rows are matched by id. */
export function compareReports(a: Named, b: Named): BenchComparison {
  const inB = new Map(b.report.rows.map((row) => [row.id, row]))
  const inA = new Set(a.report.rows.map(({ id }) => id))
  const pairs = a.report.rows.flatMap((row): [Row, Row][] => {
    const other = inB.get(row.id)
    return other ? [[row, other]] : []
  })
  const rows = comparedRows(pairs)
  const ratios = rows.flatMap(({ ratio }) => ratio ?? [])
  const flops = pairs.flatMap(([rowA, rowB]) => changedFlops(rowA, rowB))
  const medianRatio = ratios.length > 0 ? quantile(ratios, 0.5) : null
  return {
    format: 'tinymoe-bench-comparison',
    version: 1,
    a: sideOf(a),
    b: sideOf(b),
    conclusion: conclude(rows, flops, medianRatio),
    warnings: warningsOf(a.report, b.report),
    differences: differencesOf(a.report, b.report),
    flops,
    medianRatio,
    rows,
    onlyA: a.report.rows.flatMap(({ id }) => (inB.has(id) ? [] : [id])),
    onlyB: b.report.rows.flatMap(({ id }) => (inA.has(id) ? [] : [id])),
    rule: CHANGE_RULE,
  }
}

function sideOf({ file, report: { date, conditions } }: Named): Side {
  return { file, date, commit: conditions.commit, preset: conditions.preset }
}

function comparedRows(pairs: [Row, Row][]): ComparedRow[] {
  const found = changes(
    pairs.map(([a, b]) => ({ a: a.samplesMs, b: b.samplesMs })),
    SEED,
  )
  return pairs.map(([a, b], i) => ({
    id: a.id,
    verdict: verdictOf(found[i]),
    aMs: a.medianMs,
    bMs: b.medianMs,
    ratio: found[i]?.ratio ?? null,
    low: found[i]?.low ?? null,
    high: found[i]?.high ?? null,
    nA: a.n,
    nB: b.n,
    speedupA: a.speedup,
    speedupB: b.speedup,
  }))
}

function changedFlops(rowA: Row, rowB: Row): ChangedFlops[] {
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

/** Every condition that differs, those that change times first. */
export function differencesOf(a: BenchReport, b: BenchReport): Difference[] {
  const [ofA, ofB] = [facts(a), facts(b)]
  return Object.keys(ofA)
    .filter((what) => ofA[what].value !== ofB[what].value)
    .map((what) => ({ what, a: ofA[what].value, b: ofB[what].value, matters: ofA[what].matters }))
    .sort((left, right) => Number(right.matters) - Number(left.matters))
}

interface Fact {
  value: string | number | null
  matters: boolean
}

function facts({ conditions, model, interrupted }: BenchReport): Record<string, Fact> {
  const { runtime, machine } = conditions
  const matters = (value: string | number | boolean | null): Fact => ({ value: plain(value), matters: true })
  const noted = (value: string | number | boolean | null): Fact => ({ value: plain(value), matters: false })
  return {
    device: matters(runtime.device),
    'device name': matters(runtime.deviceName),
    threads: matters(runtime.threads),
    backend: matters(runtime.backend),
    platform: matters(runtime.platform),
    TensorFlow: matters(runtime.tensorflowVersion),
    tfjs: matters(runtime.tfjsVersion),
    driver: matters(runtime.driver),
    Node: matters(runtime.nodeVersion),
    'TensorFloat-32': matters(conditions.tf32),
    'frequency governor': matters(conditions.governor),
    preset: matters(conditions.preset),
    model: matters(model.name),
    seed: matters(conditions.seed),
    interrupted: noted(interrupted),
    commit: noted(conditions.commit),
    'load average before': noted(conditions.loadAverage),
    'matrix product, GFLOP/s': noted(rounded(machine.matmulGflops)),
    'memory, GB/s': noted(rounded(machine.memoryGbPerS)),
  }
}

function plain(value: string | number | boolean | null): string | number | null {
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : value
}

function rounded(value: number): number {
  return Number(value.toPrecision(3))
}

function warningsOf(a: BenchReport, b: BenchReport): string[] {
  const unlike = differencesOf(a, b).filter(({ matters }) => matters)
  return [
    ...(unlike.length > 0
      ? [
          `The sessions are not alike (${unlike.map(({ what }) => what).join(', ')}): a change of time may come from that.`,
        ]
      : []),
    ...machineWarning(a.conditions, b.conditions),
    ...(['A', 'B'] as const).flatMap((side) => busyWarning(side, (side === 'A' ? a : b).conditions)),
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
