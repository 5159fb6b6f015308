import type { BenchReport, CaseKind, PeerRow, Row } from './types.ts'

/** Cells of one table, header first. */
export type Cells = string[][]

const HEADER = [
  'dispatch', 'T', 'MFLOP', 'counted', 'median ms', 'p10', 'p90', 'n', 'GFLOP/s', 'speed-up', 'ideal', 'weights MB', 'tokens/expert',
] // biome-ignore format: as it is printed

/** A section of the report: what was measured, in a line, and its table. */
export interface Section {
  title: string
  cells: Cells
}

export function sections(report: BenchReport): Section[] {
  const { model, layer, rows, conditions } = report
  const { total, active, totalWithoutEmbeddings, activeWithoutEmbeddings } = model.parameters
  const modelTitle = `Model ${model.name}: ${count(total)} parameters, ${count(active)} active a token (without embeddings ${count(totalWithoutEmbeddings)} and ${count(activeWithoutEmbeddings)}); ${model.text}`
  const layerTitle = `One layer, op by op: D=${layer.D} H=${layer.H} E=${layer.E} K=${layer.K}, ${count(layer.totalParameters)} parameters, ${count(layer.activeParameters)} active a token`
  const of = (kind: CaseKind) => rows.filter((row) => row.kind === kind)
  const contextOf = (kind: CaseKind) => of(kind)[0]?.context
  const all = [
    {
      title: `${modelTitle}\nPrefill, ${conditions.executor}: one prompt, logits of its last token`,
      cells: of('prefill').map(cellsOf),
    },
    {
      title: `Decode, ${conditions.executor}: one token a call, ${contextOf('decode')} keys in sight`,
      cells: of('decode').map(cellsOf),
    },
    { title: layerTitle, cells: [...of('layer').map(cellsOf), ...peerCells(report)] },
  ]
  return all
    .filter(({ cells }) => cells.length > 0)
    .map(({ title, cells }) => ({ title, cells: [HEADER, ...cells] }))
}

/** A load above this share of the threads before the start takes time from what is measured. */
const BUSY_SHARE = 0.5
/** More than ideal by this factor is not the dispatch's doing. */
const BEYOND_IDEAL = 1.1

/** What a reader has to know before believing the rows: left out, cut short, miscounted, or measured on a busy machine. */
export function remarks({ rows, peers, interrupted, conditions }: BenchReport): string[] {
  const { loadAverage, runtime } = conditions
  const busy = loadAverage !== null && loadAverage > BUSY_SHARE * runtime.threads
  const beyond = rows.filter(
    ({ speedup, idealSpeedup }) => speedup !== null && speedup > BEYOND_IDEAL * idealSpeedup,
  )
  const name = (row: Row) => `${row.kind} T=${row.tokens} ${row.dispatch}`
  const wrong = rows.filter(({ flops, flopsCounted }) => flopsCounted !== null && flopsCounted !== flops)
  return [
    ...(interrupted ? ['Interrupted: only what was done until then is here.'] : []),
    ...rows.filter(({ skipped }) => skipped !== null).map((row) => `${name(row)} left out: ${row.skipped}.`),
    ...(wrong.length > 0 ? [`Counted FLOPs differ from the formula: ${wrong.map(name).join(', ')}.`] : []),
    ...(beyond.length > 0
      ? [`Faster than the ideal, so disturbed by something else: ${beyond.map(name).join(', ')}.`]
      : []),
    ...(busy
      ? [
          `The machine was busy before the start (load average ${loadAverage} on ${runtime.threads} threads): repeat on an idle one before believing these times.`,
        ]
      : []),
    ...(peers?.problem ? [peers.problem] : []),
  ]
}

function cellsOf(row: Row): string[] {
  const { minTokens, maxTokens, meanTokens } = row.spread
  return [
    row.dispatch,
    String(row.tokens),
    fixed(row.flops / 1e6),
    fixed(row.flopsCounted === null ? null : row.flopsCounted / 1e6),
    ...timeCells(row),
    fixed(row.gflopsPerSecond),
    ratio(row.speedup),
    ratio(row.idealSpeedup),
    fixed(row.weightBytes / 1e6),
    `${minTokens}..${maxTokens} (${Number(meanTokens.toFixed(1))})`,
  ]
}

/** The peers' rows, with this bench's dense as the measure of their speed-up too. */
function peerCells({ peers, rows }: BenchReport): string[][] {
  const report = peers?.report
  if (!report) return []
  const denseMs = (T: number) =>
    rows.find(({ kind, dispatch, tokens }) => kind === 'layer' && dispatch === 'dense' && tokens === T)
      ?.medianMs ?? null
  return report.rows.map((row) => {
    const dense = denseMs(row.tokens)
    const unknown = '-'
    return [
      `${report.library} ${row.implementation}`,
      String(row.tokens),
      unknown,
      unknown,
      ...timeCells(row),
      unknown,
      ratio(dense === null ? null : dense / row.medianMs),
      unknown,
      unknown,
      unknown,
    ]
  })
}

function timeCells({
  medianMs,
  p10Ms,
  p90Ms,
  n,
}: Pick<Row | PeerRow, 'medianMs' | 'p10Ms' | 'p90Ms' | 'n'>): string[] {
  return [fixed(medianMs), fixed(p10Ms), fixed(p90Ms), String(n)]
}

/** Two decimals below 100, none from 1000; '-' for unknown. */
function fixed(value: number | null): string {
  if (value === null) return '-'
  return value.toFixed(value < 100 ? 2 : value < 1000 ? 1 : 0)
}

function ratio(value: number | null): string {
  return value === null ? '-' : `${value.toFixed(2)}x`
}

function count(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(2)}B`
  return parameters >= 1e6 ? `${(parameters / 1e6).toFixed(2)}M` : `${(parameters / 1e3).toFixed(1)}K`
}
