import { isTwin } from '../cases/feed-forward.ts'
import type { BenchReport, Dispatch, PeerRow, Row, Sweep } from '../schema.ts'
import { count, fixed, intervalOf, percent, ratio, time, UNKNOWN } from './format.ts'
import { subjectOf } from './select.ts'

/** Cells of one table, header first. */
export type Cells = string[][]

/** A section of the report: what was measured, its conditions, and its table. The first column is a name. */
export interface Section {
  title: string
  note: string
  cells: Cells
}

/** What was measured of a case by one executor. */
export interface Line {
  /** Any row of it: all have the case's sizes. */
  row: Row
  by: Partial<Record<Dispatch, Row>>
}

/** The whole report as tables: a line a case and executor, variants side by side. */
export function sections(report: BenchReport): Section[] {
  const all = [
    ...(['prefill', 'decode'] as const).map((kind) => modelSection(report, kind)),
    ...report.sweeps
      .filter((sweep) => sweep.kind === 'layer' && sweep.axis !== 'grid' && saysMore(report, sweep))
      .map((sweep) => sweepSection(report, sweep)),
    gridSection(report),
    breakdownSection(report),
    capacitySection(report),
    peerSection(report),
  ]
  return all.filter((section) => section !== null && section.cells.length > 1) as Section[]
}

/** Not of a sweep of which only the place that it shares with the one over T was measured. */
export function saysMore({ rows, sweeps }: BenchReport, { axis, groups }: Sweep): boolean {
  const overTokens = sweeps.find((sweep) => sweep.axis === 'T')?.groups ?? []
  const isOwn = ({ group }: Row) => groups.includes(group) && (axis === 'T' || !overTokens.includes(group))
  return rows.some((row) => isOwn(row) && row.medianMs !== null)
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

/** Columns but the first that nothing fills are left out. */
export function filledColumns(cells: Cells, names = 1): Cells {
  const kept = cells[0].map(
    (_, column) => column < names || cells.slice(1).some((line) => line[column] !== UNKNOWN),
  )
  return cells.map((line) => line.filter((_, column) => kept[column]))
}

/** A column of a table of cases. */
export interface Column {
  heading: string
  /** Said behind the heading, where the table's title does not say it. */
  unit?: string
  cell(by: Line['by']): string
}

/** Times of the variants, and sparse against dense. */
export const TIME_COLUMNS: Column[] = [
  { heading: 'dense', unit: 'ms', cell: ({ dense }) => time(dense) },
  { heading: 'sparse', unit: 'ms', cell: ({ sparse }) => time(sparse) },
  { heading: 'gather', unit: 'ms', cell: ({ gather }) => time(gather) },
  { heading: 'speed-up', cell: ({ sparse }) => ratio(sparse?.speedup ?? null) },
  { heading: '95 %', cell: ({ sparse }) => intervalOf(sparse) },
  { heading: 'by gather', cell: ({ gather }) => ratio(gather?.speedup ?? null) },
  { heading: 'ideal', cell: ({ sparse }) => ratio(sparse?.idealSpeedup ?? null) },
  { heading: 'as active', unit: 'ms', cell: (by) => time(by['twin-active']) },
  { heading: 'as total', unit: 'ms', cell: (by) => time(by['twin-total']) },
]

export const OF_MATMUL: Column = {
  heading: 'of matmul',
  cell: ({ sparse }) => percent(sparse?.shareOfMatmul ?? null),
}

const COLUMNS: Column[] = [
  ...TIME_COLUMNS,
  { heading: 'GFLOP/s', cell: ({ sparse }) => fixed(sparse?.gflopsPerSecond ?? null) },
  OF_MATMUL,
  { heading: 'of memory', cell: ({ sparse }) => percent(sparse?.shareOfBandwidth ?? null) },
]

/** Lines and columns without a measured time are left out; the report lists what is missing. */
function compact(name: string, rows: Row[], nameOf: (row: Row) => string): Cells {
  const lines = linesOf(rows).filter(isMeasured)
  return filledColumns(
    [
      [name, 'executor', ...COLUMNS.map(({ heading, unit }) => (unit ? `${heading} ${unit}` : heading))],
      ...lines.map(({ row, by }) => [nameOf(row), row.executor, ...COLUMNS.map(({ cell }) => cell(by))]),
    ],
    2,
  )
}

/** Of the model's cases of a kind, by batch and keys. */
export function modelRows({ rows }: BenchReport, kind: 'prefill' | 'decode'): Row[] {
  return sorted(
    rows.filter((row) => row.kind === kind),
    ({ batch, context }) => [batch, context ?? 0],
  )
}

export function modelCaseName({ batch, context }: Pick<Row, 'batch' | 'context'>): string {
  return `${batch} x ${context}`
}

export function modelFacts({ model: { parameters } }: BenchReport): string {
  return `${count(parameters.total)} parameters, ${count(parameters.active)} active a token`
}

function modelSection(report: BenchReport, kind: 'prefill' | 'decode'): Section {
  const { name, text, parameters } = report.model
  const { totalWithoutEmbeddings: total, activeWithoutEmbeddings: active } = parameters
  const facts = `${modelFacts(report)} (without embeddings ${count(total)} and ${count(active)}); ${text}.`
  const [title, note] =
    kind === 'prefill'
      ? [`Model ${name}: prefill`, "Whole prompts, logits of each one's last token."]
      : [
          `Model ${name}: decode`,
          'One token a sequence and call, behind prompts in the cache; times are of one call.',
        ]
  return {
    title,
    note: `${note} ${facts}`,
    cells: compact('batch x keys', modelRows(report, kind), modelCaseName),
  }
}

export const AXIS_WORDS: Record<Exclude<Sweep['axis'], 'grid' | 'batch' | 'context'>, string> = {
  T: 'tokens T',
  E: 'experts E',
  K: 'experts a token K',
  D: 'width D',
  H: 'width of an expert H',
  routing: 'how tokens are routed',
}
export type LayerAxis = keyof typeof AXIS_WORDS

/** Where a row of the layer stands along an axis. */
export function placeOf({ dims, tokens, routing }: Row, axis: LayerAxis): string {
  return String({ ...dims, T: tokens, routing }[axis as 'T'])
}

export function layerFacts({ layer }: BenchReport): string {
  return `${count(layer.totalParameters)} parameters, ${count(layer.activeParameters)} active a token`
}

function sweepSection(report: BenchReport, sweep: Sweep): Section {
  const axis = sweep.axis as LayerAxis
  const of = sweep.groups.flatMap((group) => report.rows.filter((row) => row.group === group))
  const { D, H, E, K } = report.layer
  const sizes = Object.entries({ D, H, E, K, T: axis === 'T' ? null : (of[0]?.tokens ?? null) })
    .filter(([name, value]) => name !== axis && value !== null)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
  // The twins are the same in every sweep: once is enough.
  const shown = axis === 'T' ? of : of.filter(({ dispatch }) => !isTwin(dispatch))
  return {
    title: `One layer over ${AXIS_WORDS[axis]}`,
    note: axis === 'T' ? `${sizes}, ${layerFacts(report)}.` : `${sizes}.`,
    cells: compact(axis, shown, (row) => placeOf(row, axis)),
  }
}

function gridSection({ rows, sweeps }: BenchReport): Section | null {
  const grid = sweeps.find(({ axis }) => axis === 'grid')
  if (!grid) return null
  const of = rows.filter(({ group }) => grid.groups.includes(group))
  const nameOf = ({ dims, tokens }: Row) => `E${dims?.E} K${dims?.K} D${dims?.D} H${dims?.H} T${tokens}`
  return {
    title: 'One layer, every combination',
    note: 'A line a combination of sizes.',
    cells: compact('sizes', of, nameOf),
  }
}

export function breakdownSection({ breakdown }: BenchReport): Section {
  return {
    title: 'Where a sparse dispatch spends its time',
    note: 'Op by op, ms; each part timed by itself, and the same work in one go.',
    cells: [
      ['T', 'router', 'group', 'experts', 'combine', 'sum', 'in one go', 'n'],
      ...breakdown.map((b) => [
        String(b.tokens),
        ...[b.routerMs, b.groupMs, b.matmulMs, b.combineMs, b.sumMs, b.totalMs].map(fixed),
        String(b.n),
      ]),
    ],
  }
}

function capacitySection({ capacity }: BenchReport): Section {
  return {
    title: 'One layer with limited capacity',
    note: 'Room for so many times the fair share of tokens an expert, what is over is dropped; routed on the host.',
    cells: [
      ['factor', 'routing', 'T', 'dropped', 'MFLOP', 'median ms', 'p10', 'p90', 'n'],
      ...capacity.map((row) => [
        row.factor === null ? 'none' : String(row.factor),
        row.routing,
        String(row.tokens),
        percent(row.droppedShare),
        fixed(row.flopsCounted / 1e6),
        fixed(row.medianMs),
        fixed(row.p10Ms),
        fixed(row.p90Ms),
        String(row.n),
      ]),
    ],
  }
}

/** Peers' rows with our own beside them: what the same work takes here by sparse and by the fastest dispatch. */
function peerSection(report: BenchReport): Section {
  const found = report.peers.flatMap(({ report: peer }) => peer ?? [])
  return {
    title: 'Peers',
    note: 'In the same session but not in turn with our rows.',
    cells: [
      ['peer', 'work', 'T', 'median ms', 'p10', 'p90', 'n', 'tokens/s', 'ours, fastest ms'],
      ...found.flatMap(({ library, rows }) =>
        rows.map((row) => [
          `${library} ${row.implementation}`,
          row.context === null ? row.kind : `${row.kind}, ${row.context} keys`,
          String(row.tokens),
          fixed(row.medianMs),
          fixed(row.p10Ms),
          fixed(row.p90Ms),
          String(row.n),
          fixed(row.tokensPerSecond),
          fixed(oursFor(report, row)),
        ]),
      ),
    ],
  }
}

/** Our fastest time for the same work; null where no case of ours is the same. */
export function oursFor(
  report: Pick<BenchReport, 'rows' | 'conditions' | 'layer'>,
  peer: PeerRow,
): number | null {
  const { dims } = subjectOf(report)
  const same = report.rows.filter(
    (row) =>
      row.kind === peer.kind &&
      row.tokens === peer.tokens &&
      row.batch === peer.batch &&
      row.context === peer.context &&
      row.routing === 'real' &&
      !isTwin(row.dispatch) &&
      (row.dims === null || JSON.stringify(row.dims) === JSON.stringify(dims)),
  )
  const times = same.flatMap(({ medianMs }) => medianMs ?? [])
  return times.length > 0 ? Math.min(...times) : null
}

/** Rows without times, and the reason of each. */
export function leftOut({ rows }: BenchReport): Cells {
  const missing = rows.filter(({ skipped }) => skipped !== null)
  return [['row', 'why'], ...missing.map(({ id, skipped }) => [id, skipped ?? UNKNOWN])]
}

/** Every row with everything that is a number, for the stored page. */
export function details({ rows }: BenchReport): Cells {
  const header = [
    'row', 'MFLOP', 'counted', 'median ms', 'p10', 'p90', 'p99', 'n', 'outliers', 'tokens/s', 'GFLOP/s', 'speed-up', '95 %', 'ideal', 'weights MB', 'tokens/expert',
  ] // biome-ignore format: as it is printed
  return [
    header,
    ...rows.map((row) => [
      row.id,
      fixed(row.flops / 1e6),
      fixed(row.flopsCounted === null ? null : row.flopsCounted / 1e6),
      ...[row.medianMs, row.p10Ms, row.p90Ms, row.p99Ms].map(fixed),
      String(row.n),
      String(row.outliers),
      fixed(row.tokensPerSecond),
      fixed(row.gflopsPerSecond),
      ratio(row.speedup),
      intervalOf(row),
      ratio(row.idealSpeedup),
      fixed(row.weightBytes / 1e6),
      row.spread
        ? `${row.spread.minTokens}..${row.spread.maxTokens} (${Number(row.spread.meanTokens.toFixed(1))})`
        : UNKNOWN,
    ]),
  ]
}

function sorted(rows: Row[], keys: (row: Row) => number[]): Row[] {
  return rows.toSorted((a, b) => {
    const [left, right] = [keys(a), keys(b)]
    const at = left.findIndex((value, i) => value !== right[i])
    return at < 0 ? 0 : left[at] - right[at]
  })
}
