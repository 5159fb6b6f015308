import { isTwin } from './feed-forward.ts'
import { subjectOf } from './select.ts'
import type { BenchReport, Dispatch, PeerRow, Row, Sweep } from './types.ts'

/** Cells of one table, header first. */
export type Cells = string[][]

/** A section of the report: what was measured, in a line, and its table. The first column is a name. */
export interface Section {
  title: string
  cells: Cells
}

/** The report as a person reads it: a line a case and executor, variants side by side. */
export function sections(report: BenchReport): Section[] {
  const all = [
    ...(['prefill', 'decode'] as const).map((kind) => modelSection(report, kind)),
    ...report.sweeps
      .filter(({ kind, axis }) => kind === 'layer' && axis !== 'grid')
      .map((sweep) => sweepSection(report, sweep)),
    gridSection(report),
    breakdownSection(report),
    capacitySection(report),
    peerSection(report),
  ]
  return all.filter((section) => section !== null && section.cells.length > 1) as Section[]
}

const COLUMNS: { heading: string; cell(row: Partial<Record<Dispatch, Row>>): string }[] = [
  { heading: 'dense ms', cell: ({ dense }) => time(dense) },
  { heading: 'sparse ms', cell: ({ sparse }) => time(sparse) },
  { heading: 'gather ms', cell: ({ gather }) => time(gather) },
  { heading: 'speed-up', cell: ({ sparse }) => ratio(sparse?.speedup ?? null) },
  { heading: '95 %', cell: ({ sparse }) => intervalOf(sparse) },
  { heading: 'ideal', cell: ({ sparse }) => ratio(sparse?.idealSpeedup ?? null) },
  { heading: 'as active ms', cell: (row) => time(row['twin-active']) },
  { heading: 'as total ms', cell: (row) => time(row['twin-total']) },
  { heading: 'GFLOP/s', cell: ({ sparse }) => fixed(sparse?.gflopsPerSecond ?? null) },
  { heading: 'of matmul', cell: ({ sparse }) => percent(sparse?.shareOfMatmul ?? null) },
  { heading: 'of memory', cell: ({ sparse }) => percent(sparse?.shareOfBandwidth ?? null) },
]

/** A line a group and executor; lines and columns without a measured time are left out, remarks name what is missing. */
function compact(name: string, rows: Row[], nameOf: (row: Row) => string): Cells {
  const lines = new Map<string, Row[]>()
  for (const row of rows) {
    const key = `${row.group} ${row.executor}`
    lines.set(key, [...(lines.get(key) ?? []), row])
  }
  const measured = [...lines.values()].filter((line) => line.some(({ medianMs }) => medianMs !== null))
  const filled = measured.map((line) => {
    const byDispatch: Partial<Record<Dispatch, Row>> = Object.fromEntries(
      line.map((row) => [row.dispatch, row]),
    )
    return [nameOf(line[0]), line[0].executor, ...COLUMNS.map(({ cell }) => cell(byDispatch))]
  })
  const cells = [[name, 'executor', ...COLUMNS.map(({ heading }) => heading)], ...filled]
  const kept = cells[0].map((_, column) => column < 2 || filled.some((line) => line[column] !== UNKNOWN))
  return cells.map((line) => line.filter((_, column) => kept[column]))
}

function modelSection({ rows, model }: BenchReport, kind: 'prefill' | 'decode'): Section {
  const of = rows.filter((row) => row.kind === kind)
  const { total, active, totalWithoutEmbeddings, activeWithoutEmbeddings } = model.parameters
  const facts = `Model ${model.name}: ${count(total)} parameters, ${count(active)} active a token (without embeddings ${count(totalWithoutEmbeddings)} and ${count(activeWithoutEmbeddings)}); ${model.text}`
  const title =
    kind === 'prefill'
      ? `${facts}\nPrefill: whole prompts, logits of each one's last token`
      : `Model ${model.name}\nDecode: one token a sequence and call, behind prompts in the cache; times are of one call`
  return {
    title,
    cells: compact(
      'batch x keys',
      sorted(of, ({ batch, context }) => [batch, context ?? 0]),
      ({ batch, context }) => `${batch} x ${context}`,
    ),
  }
}

const AXIS_TITLES: Record<Exclude<Sweep['axis'], 'grid' | 'batch' | 'context'>, string> = {
  T: 'over tokens T',
  E: 'over experts E',
  K: 'over experts a token K',
  D: 'over width D',
  H: 'over width of an expert H',
  routing: 'over how tokens are routed',
}

function sweepSection({ rows, layer }: BenchReport, { axis, groups }: Sweep): Section {
  const of = groups.flatMap((group) => rows.filter((row) => row.group === group))
  const { D, H, E, K } = layer
  const fixedSizes = Object.entries({ D, H, E, K, T: axis === 'T' ? null : (of[0]?.tokens ?? null) })
    .filter(([name, value]) => name !== axis && value !== null)
    .map(([name, value]) => `${name}=${value}`)
  const title = `One layer ${AXIS_TITLES[axis as keyof typeof AXIS_TITLES]}: ${fixedSizes.join(' ')}`
  const whole = `${title}, ${count(layer.totalParameters)} parameters, ${count(layer.activeParameters)} active a token (${layer.source})`
  const nameOf = (row: Row) => String({ ...row.dims, T: row.tokens, routing: row.routing }[axis as 'T'])
  // The twins are the same in every sweep: once is enough.
  const shown = axis === 'T' ? of : of.filter(({ dispatch }) => !isTwin(dispatch))
  return { title: axis === 'T' ? whole : title, cells: compact(axis, shown, nameOf) }
}

function gridSection({ rows, sweeps }: BenchReport): Section | null {
  const grid = sweeps.find(({ axis }) => axis === 'grid')
  if (!grid) return null
  const of = rows.filter(({ group }) => grid.groups.includes(group))
  const nameOf = ({ dims, tokens }: Row) => `E${dims?.E} K${dims?.K} D${dims?.D} H${dims?.H} T${tokens}`
  return { title: 'One layer, every combination', cells: compact('sizes', of, nameOf) }
}

function breakdownSection({ breakdown }: BenchReport): Section {
  return {
    title: 'Where a sparse dispatch spends its time, op by op; ms, each part timed by itself',
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
    title:
      'One layer with room for so many times the fair share of tokens an expert, what is over dropped; routed on the host',
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
    title: 'Peers, in the same session but not in turn with our rows',
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

const UNKNOWN = '-'

function time(row: Row | undefined): string {
  return fixed(row?.medianMs ?? null)
}

function intervalOf(row: Row | undefined): string {
  if (!row || row.speedupLow === null || row.speedupHigh === null) return UNKNOWN
  return `${row.speedupLow.toFixed(2)}..${row.speedupHigh.toFixed(2)}`
}

/** Two decimals below 100, none from 1000; '-' for unknown. */
function fixed(value: number | null): string {
  if (value === null) return UNKNOWN
  return value.toFixed(value < 100 ? 2 : value < 1000 ? 1 : 0)
}

function ratio(value: number | null): string {
  return value === null ? UNKNOWN : `${value.toFixed(2)}x`
}

function percent(share: number | null): string {
  return share === null ? UNKNOWN : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
}

function count(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(2)}B`
  return parameters >= 1e6 ? `${(parameters / 1e6).toFixed(2)}M` : `${(parameters / 1e3).toFixed(1)}K`
}

function sorted(rows: Row[], keys: (row: Row) => number[]): Row[] {
  return rows.toSorted((a, b) => {
    const [left, right] = [keys(a), keys(b)]
    const at = left.findIndex((value, i) => value !== right[i])
    return at < 0 ? 0 : left[at] - right[at]
  })
}
