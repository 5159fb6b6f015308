import { thousands } from '../../src/text/units.ts'
import { type BenchReport, isTwin, type Row, type Sweep } from '../schema.ts'
import { count, fixed, intervalOf, percent, ratio, UNKNOWN } from './format.ts'
import { type Column, type Section, type Table, tableOf } from './section.ts'
import {
  AXIS_WORDS,
  allowedSpeedup,
  isMeasured,
  type Line,
  linesOf,
  modelRows,
  oursFor,
  placeOf,
  tellingSweeps,
} from './select.ts'
import { widthSection } from './widths.ts'

/** The whole report as tables: a line a case and executor, variants side by side. */
export function sections(report: BenchReport): Section[] {
  const reads = 'Whole prompts, logits of the last token.'
  const writes = 'One token a sequence and call, behind prompts in the cache.'
  return [
    modelSection(report, 'prefill', reads),
    modelSection(report, 'decode', writes),
    widthSection(report),
    ...tellingSweeps(report).map((sweep) => sweepSection(report, sweep)),
    cacheSection(report),
    gridSection(report),
    partsSection(report),
    capacitySection(report),
    peerSection(report),
  ].filter(({ rows }) => rows.length > 0)
}

const columnsFor = (machine: BenchReport['conditions']['machine']): Column<Line['by']>[] => [
  ['dense', ({ dense }) => fixed(dense?.medianMs), 'ms'],
  ['sparse', ({ sparse }) => fixed(sparse?.medianMs), 'ms'],
  ['gather', ({ gather }) => fixed(gather?.medianMs), 'ms'],
  ['speed-up', ({ sparse }) => ratio(sparse?.speedup)],
  ['95 %', ({ sparse }) => intervalOf(sparse)],
  ['by gather', ({ gather }) => ratio(gather?.speedup)],
  ['ideal', ({ sparse }) => ratio(sparse?.idealSpeedup)],
  [
    'allowed',
    ({ dense, sparse }) => (dense && sparse ? ratio(allowedSpeedup(sparse, dense, machine)) : UNKNOWN),
  ],
  ['as active', (by) => fixed(by['twin-active']?.medianMs), 'ms'],
  ['as total', (by) => fixed(by['twin-total']?.medianMs), 'ms'],
  ['of matmul', ({ sparse }) => percent(sparse?.shareOfMatmul)],
  ['of memory', ({ sparse }) => percent(sparse?.shareOfBandwidth)],
  ['experts in memory', ({ sparse }) => percent(sparse?.expertHitRate)],
]

const EXECUTOR_COLUMN: Column<Line> = ['executor', ({ row }) => row.executor]

/**
 * A line a case and executor. Lines without a measured time are left out, and the report lists what is missing; so are columns
 * of numbers that nothing fills.
 */
function caseTable(
  { conditions }: BenchReport,
  name: string,
  rows: Row[],
  nameOf: (row: Row) => string,
): Table {
  const lines = linesOf(rows).filter(isMeasured)
  const columns = columnsFor(conditions.machine)
  const isFilled = ([, cell]: (typeof columns)[number]) => lines.some(({ by }) => cell(by) !== UNKNOWN)
  return tableOf(lines, [
    [name, ({ row }) => nameOf(row)],
    ...(new Set(lines.map(({ row }) => row.executor)).size > 1 ? [EXECUTOR_COLUMN] : []),
    ...columns
      .filter(isFilled)
      .map(([heading, cell, unit]): Column<Line> => [heading, ({ by }) => cell(by), unit]),
  ])
}

function parametersOf(total: number, active: number): string {
  return `${count(total)} parameters, ${count(active)} active a token`
}

function modelSection(report: BenchReport, kind: 'prefill' | 'decode', what: string): Section {
  const { name, text, parameters, cacheBytesPerToken } = report.model
  const { total, active, totalWithoutEmbeddings, activeWithoutEmbeddings } = parameters
  const without = `without embeddings ${count(totalWithoutEmbeddings)} and ${count(activeWithoutEmbeddings)}`
  return {
    id: `table-${kind}`,
    title: `Model ${name}: ${kind}`,
    sentence: `${what} ${parametersOf(total, active)} (${without}); ${text}.${kind === 'decode' ? cacheWords(cacheBytesPerToken) : ''}`,
    ...caseTable(
      report,
      'batch x keys',
      modelRows(report, kind),
      ({ batch, context }) => `${batch} x ${context}`,
    ),
  }
}

/** Of reports that know it. */
function cacheWords(cache: BenchReport['model']['cacheBytesPerToken']): string {
  if (!cache) return ''
  const kept = ` A token leaves ${thousands(cache.kept)} bytes in the cache`
  const plain = `by plain attention of the same heads ${thousands(cache.plain)}`
  return cache.plain === cache.kept ? `${kept}.` : `${kept}, ${plain}.`
}

function sweepSection(report: BenchReport, { axis, groups }: Sweep): Section {
  const { rows, layer } = report
  const { D, H, E, K, totalParameters, activeParameters } = layer
  // The twins are the same in every sweep: once is enough.
  const shown = groups.flatMap((group) =>
    rows.filter((row) => row.group === group && (axis === 'T' || !isTwin(row.dispatch))),
  )
  const sizes = Object.entries({ D, H, E, K, ...(axis === 'T' ? {} : { T: shown[0].tokens }) })
    .filter(([name]) => name !== axis)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
  return {
    id: `table-${axis}`,
    title: `One layer over ${AXIS_WORDS[axis]}`,
    sentence: axis === 'T' ? `${sizes}, ${parametersOf(totalParameters, activeParameters)}.` : `${sizes}.`,
    ...caseTable(report, axis, shown, (row) => placeOf(row, axis)),
  }
}

function cacheSection(report: BenchReport): Section {
  const own = report.rows.filter(({ fromCache }) => fromCache)
  return {
    id: 'table-cache',
    title: 'One layer from cache',
    sentence:
      'Each call right behind another like it on the same weights, which stay in the cache where they fit.',
    ...caseTable(report, 'T', own, ({ tokens }) => String(tokens)),
  }
}

function gridSection(report: BenchReport): Section {
  const { rows, sweeps } = report
  const groups = sweeps.find(({ axis }) => axis === 'grid')?.groups ?? []
  const own = rows.filter(({ group }) => groups.includes(group))
  const nameOf = ({ dims, tokens }: Row) => `E${dims?.E} K${dims?.K} D${dims?.D} H${dims?.H} T${tokens}`
  return {
    id: 'table-grid',
    title: 'One layer, every combination',
    sentence: 'A line a combination of sizes.',
    ...caseTable(report, 'sizes', own, nameOf),
  }
}

function partsSection({ breakdown }: BenchReport): Section {
  return {
    id: 'table-parts',
    title: 'Where a sparse dispatch spends its time',
    sentence: 'Op by op, ms; each part timed by itself, and the same work in one go.',
    ...tableOf(breakdown, [
      ['T', ({ tokens }) => String(tokens)],
      ['router', ({ routerMs }) => fixed(routerMs)],
      ['group', ({ groupMs }) => fixed(groupMs)],
      ['experts', ({ matmulMs }) => fixed(matmulMs)],
      ['combine', ({ combineMs }) => fixed(combineMs)],
      ['sum', ({ sumMs }) => fixed(sumMs)],
      ['in one go', ({ totalMs }) => fixed(totalMs)],
      ['n', ({ n }) => String(n)],
    ]),
  }
}

function capacitySection({ capacity }: BenchReport): Section {
  return {
    id: 'table-capacity',
    title: 'One layer with limited capacity',
    sentence:
      'Room for so many times the fair share of tokens an expert, what is over is dropped; routed on the host.',
    ...tableOf(capacity, [
      ['factor', ({ factor }) => (factor === null ? 'none' : String(factor))],
      ['routing', ({ routing }) => routing],
      ['T', ({ tokens }) => String(tokens)],
      ['dropped', ({ droppedShare }) => percent(droppedShare)],
      ['MFLOP', ({ flopsCounted }) => fixed(flopsCounted / 1e6)],
      ...TIMES,
    ]),
  }
}

const TIMES: Column<Pick<Row, 'medianMs' | 'p10Ms' | 'p90Ms' | 'n'>>[] = [
  ['median', ({ medianMs }) => fixed(medianMs), 'ms'],
  ['p10', ({ p10Ms }) => fixed(p10Ms)],
  ['p90', ({ p90Ms }) => fixed(p90Ms)],
  ['n', ({ n }) => String(n)],
]

/** Peers' rows with our own beside them. */
function peerSection(report: BenchReport): Section {
  const found = report.peers.flatMap(({ report: peer }) =>
    (peer?.rows ?? []).map((row) => ({ ...row, name: `${peer?.library} ${row.implementation}` })),
  )
  return {
    id: 'table-peers',
    title: 'Peers',
    sentence: 'In the same session but not in turn with our rows.',
    ...tableOf(found, [
      ['peer', ({ name }) => name],
      ['work', ({ kind, context }) => (context === null ? kind : `${kind}, ${context} keys`)],
      ['T', ({ tokens }) => String(tokens)],
      ...TIMES,
      ['tokens/s', ({ tokensPerSecond }) => fixed(tokensPerSecond)],
      ['ours, fastest', (row) => fixed(oursFor(report, row)), 'ms'],
    ]),
  }
}

/** Rows without times, and the reason of each. */
export function leftOut({ rows }: BenchReport): Section {
  const missing = rows.filter(({ skipped }) => skipped !== null)
  return {
    id: 'table-left-out',
    title: 'Rows left out',
    sentence: '',
    words: true,
    ...tableOf(missing, [
      ['row', ({ id }) => id],
      ['why', ({ skipped }) => skipped ?? UNKNOWN],
    ]),
  }
}

/** Every row with everything that is a number, for the stored files. */
export function everyRow({ rows }: BenchReport): Section {
  return {
    id: 'table-rows',
    title: 'Every row',
    sentence: '',
    ...tableOf(rows, [
      ['row', ({ id }) => id],
      ['MFLOP', ({ flops }) => fixed(flops / 1e6)],
      ['counted', ({ flopsCounted }) => fixed(flopsCounted === null ? null : flopsCounted / 1e6)],
      ...TIMES.slice(0, 3),
      ['p99', ({ p99Ms }) => fixed(p99Ms)],
      ...TIMES.slice(3),
      ['outliers', ({ outliers }) => String(outliers)],
      ['tokens/s', ({ tokensPerSecond }) => fixed(tokensPerSecond)],
      ['GFLOP/s', ({ gflopsPerSecond }) => fixed(gflopsPerSecond)],
      ['speed-up', ({ speedup }) => ratio(speedup)],
      ['95 %', intervalOf],
      ['ideal', ({ idealSpeedup }) => ratio(idealSpeedup)],
      ['weights', ({ weightBytes }) => fixed(weightBytes === null ? null : weightBytes / 1e6), 'MB'],
      ['tokens/expert', spreadText],
    ]),
  }
}

function spreadText({ spread }: Row): string {
  if (spread === null) return UNKNOWN
  return `${spread.minTokens}..${spread.maxTokens} (${Number(spread.meanTokens.toFixed(1))})`
}
