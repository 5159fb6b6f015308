import { group } from 'd3-array'
import type { BenchReport } from '../schema.ts'
import { barsPanel } from './chart.ts'
import { fixed, listed, percent, ratio, short, UNKNOWN } from './format.ts'
import { colourOf } from './palette.ts'
import { type Column, type Panel, type Section, tableOf } from './section.ts'
import { dispatchesIn, type HeldRow, heldRows, widestOf } from './select.ts'

/** What was measured of one width; the loss is that of either dispatch. */
interface WidthLine extends Pick<HeldRow, 'held' | 'heldBytes' | 'loss'> {
  dense?: HeldRow
  sparse?: HeldRow
}

/** Decoded tokens of the model in each width: bytes, speed and loss. */
export function widthSection(report: BenchReport): Section {
  const rows = heldRows(report.rows)
  const lines = linesOf(rows)
  const parameters = report.model.parameters.total
  const ofDispatch = (name: 'dense' | 'sparse'): Column<WidthLine>[] => [
    [name, ({ [name]: row }) => fixed(row && row.weightBytes / 1e6), 'MB'],
    ['tokens/s', ({ [name]: row }) => fixed(row?.tokensPerSecond)],
    ['of memory', ({ [name]: row }) => percent(row?.shareOfBandwidth)],
  ]
  return {
    id: 'widths',
    title: 'What a parameter costs',
    ...(rows.length > 0 ? wordsOf(report, rows) : { sentence: 'The model was not held in several widths.' }),
    dispatches: dispatchesIn(rows),
    panels: [
      ...widthPanel('tokens', 'Tokens a second', 'tokens/s', rows, (row) => row.tokensPerSecond ?? 0),
      ...widthPanel('bytes', 'Weights read for a token', 'MB', rows, ({ weightBytes }) => weightBytes / 1e6),
    ],
    ...tableOf(lines, [
      ['held in', ({ held }) => held],
      ['bits', ({ heldBytes }) => fixed((8 * heldBytes) / parameters)],
      ...ofDispatch('dense'),
      ...ofDispatch('sparse'),
      ['by width', ({ sparse }) => ratio(sparse && timesAsFast(sparse, rows))],
      ['loss', ({ loss }) => loss?.toFixed(4) ?? UNKNOWN],
      ['more', ({ loss }) => more(loss, lines[0].loss)],
    ]),
  }
}

/** In the order of the widths. */
function linesOf(rows: readonly HeldRow[]): WidthLine[] {
  return [...group(rows, ({ held }) => held).values()].map((own): WidthLine => {
    const [{ held, heldBytes, loss }] = own
    const of = (name: HeldRow['dispatch']) => own.find(({ dispatch }) => dispatch === name)
    return { held, heldBytes, loss, dense: of('dense'), sparse: of('sparse') }
  })
}

function wordsOf(
  { conditions, model }: BenchReport,
  rows: readonly HeldRow[],
): Pick<Section, 'sentence' | 'details'> {
  const [{ context, held: widest }] = rows
  const lossTokens = rows.find(({ loss }) => loss !== null)?.lossTokens ?? null
  const { cacheBytes } = conditions
  return {
    sentence: `A token of ${model.name} in each width, in turn: MB that it reads; by width: sparse against ${widest}.`,
    details: [
      `It is decoded behind ${(context ?? 1) - 1} others. Bits: of a parameter, by all weights and their scales.`,
      'Of memory: the bytes by the median time, as a share of what the machine reads from memory.',
      ...(cacheBytes === null ? [] : cachedWords(rows, cacheBytes)),
      lossTokens === null
        ? 'The loss is unknown of a model without a tokenizer for the held-out texts, and where they would take too long.'
        : `The loss is that of ${lossTokens.toLocaleString('en')} held-out tokens, nats a token, mean over domains, the same by both dispatches; more: than in ${widest}.`,
    ].join(' '),
  }
}

/** Of a small model the share says how near the processor comes to memory's speed, not what memory gives. */
function cachedWords(rows: readonly HeldRow[], cacheBytes: number): string[] {
  const isCached = ({ weightBytes }: HeldRow) => weightBytes <= cacheBytes
  const cached = rows.filter(isCached)
  if (cached.length === 0) return []
  const others = rows.filter((row) => !isCached(row))
  const allBut = others.length === 0 ? 'all' : `all but ${listed(others.map(nameOf))}`
  const which = others.length < cached.length ? allBut : listed(cached.map(nameOf))
  return [
    `What fits into the largest cache (${short(cacheBytes / 1e6)} MB) is read from there, and its share may be above 100 %: here ${which}.`,
  ]
}

function nameOf({ held, dispatch }: HeldRow): string {
  return `${held} (${dispatch})`
}

function timesAsFast(row: HeldRow, rows: readonly HeldRow[]): number | null {
  const widest = widestOf(row, rows)
  return widest ? widest.medianMs / row.medianMs : null
}

function more(loss: number | null, least: number | null): string {
  return loss === null || least === null ? UNKNOWN : (loss - least).toFixed(4)
}

/** Bars of an amount, a group for each width. */
function widthPanel(
  id: string,
  caption: string,
  unit: string,
  rows: readonly HeldRow[],
  amount: (row: HeldRow) => number,
): Panel[] {
  const bars = rows.map((row) => {
    const [width] = row.held.split(' in ')
    const value = amount(row)
    const title = `${row.held}, ${row.dispatch}: ${short(value)} ${unit}`
    return { group: width, name: row.dispatch, colour: colourOf(row.dispatch), value, title }
  })
  return barsPanel({ id: `widths-${id}`, caption }, bars, unit)
}
