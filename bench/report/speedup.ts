import * as Plot from '@observablehq/plot'
import { EXECUTORS, type Executor } from '../../src/load-model.ts'
import type { BenchReport } from '../schema.ts'
import { centred, draw, short, tokenScale } from './charts.ts'
import { type Gap, gapsOf } from './gap.ts'
import { ms } from './latency.ts'
import { listed } from './markup.ts'
import {
  type ComparedRow,
  dispatchesIn,
  distinct,
  EXECUTOR_WORDS,
  executorsOf,
  isCompared,
  notShown,
  plannedSweep,
  sweepOf,
} from './page-select.ts'
import { colourOf, LOOKS, PARTS, type Part } from './palette.ts'
import type { PageSection, Panel } from './section.ts'
import type { Cells } from './tables.ts'

/** Speed-up over dense beside the ideal, and the gap between them by part. */
export function speedupSection(report: BenchReport): PageSection {
  const gaps = gapsOf(report)
  const all = executorsOf(report, 'layer').map((executor) => ({
    executor,
    rows: comparedOf(report, executor),
  }))
  const found = all.filter(({ rows }) => rows.length > 0)
  const rows = found.flatMap((one) => one.rows)
  const planned = EXECUTORS.flatMap((executor) => plannedSweep(report, executor))
  const { E, K } = report.layer
  return {
    id: 'speed-up',
    title: 'Speed-up against the ideal E/K',
    missing:
      rows.length > 0
        ? notShown(
            'Not compared with dense',
            planned.filter(({ dispatch }) => dispatch !== 'dense'),
            isCompared,
          )
        : '',
    sentence: `${speedupSentence(found[0]?.rows ?? [])} ${gapSentence(report, gaps)}`,
    note: `A mixture runs K=${K} of E=${E} experts for a token, so the ideal is ${short(E / K)}; 1 is dense. Lines at the points are 95 % intervals.${gaps.length > 0 ? " The bars show how far sparse stays above its ideal share of dense's time, and why; docs/report.md defines the parts." : ''}`,
    dispatches: dispatchesIn(rows),
    panels: [
      ...found.map((one) => speedupPanel(report, one.executor, one.rows, rows)),
      ...(gaps.length > 0 ? [gapPanel(gaps)] : []),
    ],
    table: tableOf(rows, gaps),
  }
}

function comparedOf(report: BenchReport, executor: Executor): ComparedRow[] {
  return sweepOf(report, executor).filter(
    (row) => isCompared(row) && row.dispatch !== 'dense',
  ) as ComparedRow[]
}

function speedupPanel(
  report: BenchReport,
  executor: Executor,
  rows: ComparedRow[],
  all: ComparedRow[],
): Panel {
  const ideal = report.layer.E / report.layer.K
  const tokens = distinct(plannedSweep(report, executor).map((row) => row.tokens))
  const top = 1.1 * Math.max(ideal, 1, ...all.map(({ speedup, speedupHigh }) => speedupHigh ?? speedup))
  const svg = draw(
    {
      marginRight: 62,
      x: tokenScale(tokens),
      y: { label: 'times as fast as dense', labelArrow: 'none', domain: [0, top], ticks: 6, grid: true },
      marks: [
        Plot.ruleY([1, ideal], { stroke: 'var(--muted)', strokeDasharray: '5 4' }),
        Plot.text([1, ideal], {
          y: (value: number) => value,
          text: (value: number) => (value === 1 ? 'dense 1' : `ideal ${short(value)}`),
          frameAnchor: 'right',
          textAnchor: 'start',
          dx: 6,
        }),
        ...dispatchesIn(rows).flatMap((dispatch) => {
          const line = rows.filter((row) => row.dispatch === dispatch)
          const color = colourOf(dispatch)
          const known = line.filter(
            ({ speedupLow, speedupHigh }) => speedupLow !== null && speedupHigh !== null,
          )
          return [
            Plot.lineY(line, {
              x: 'tokens',
              y: 'speedup',
              stroke: color,
              strokeOpacity: 0.5,
              strokeDasharray: LOOKS[dispatch].dashes,
            }),
            Plot.ruleX(known, {
              x: 'tokens',
              y1: 'speedupLow',
              y2: 'speedupHigh',
              stroke: color,
              strokeWidth: 2,
            }),
            Plot.dot(line, {
              x: 'tokens',
              y: 'speedup',
              fill: color,
              symbol: LOOKS[dispatch].symbol,
              r: 4,
              title: hint,
            }),
          ]
        }),
      ],
    },
    {
      id: `speed-up-${executor}`,
      title: `Speed-up over dense against tokens, ${EXECUTOR_WORDS[executor]}`,
      description: `How many times as fast as dense each dispatch is, beside the ideal ${short(ideal)}.`,
    },
  )
  return { caption: `Layer, ${EXECUTOR_WORDS[executor]}`, svg }
}

function hint({ dispatch, tokens, speedup, speedupLow, speedupHigh, idealSpeedup }: ComparedRow): string {
  const interval =
    speedupLow === null || speedupHigh === null
      ? ''
      : ` (${speedupLow.toFixed(2)} to ${speedupHigh.toFixed(2)})`
  return `${dispatch}, T=${tokens}: ${speedup.toFixed(2)} times as fast as dense${interval}, ideal ${short(idealSpeedup)}`
}

const PART_NAMES = Object.keys(PARTS) as Part[]

/** Bars in % of dense's time: the ideal share, then what comes on top; what saves time goes to the left of zero. */
function gapPanel(gaps: Gap[]): Panel {
  const pieces = gaps.flatMap((gap) =>
    PART_NAMES.map((part) => ({
      name: `T=${gap.tokens}`,
      part,
      share: (100 * gap[part]) / gap.denseMs,
      ms: gap[part],
    })),
  )
  const totals = gaps.map((gap) => ({ name: `T=${gap.tokens}`, share: (100 * gap.sparseMs) / gap.denseMs }))
  const right = (name: string) =>
    pieces
      .filter((piece) => piece.name === name && piece.share > 0)
      .reduce((sum, { share }) => sum + share, 0)
  const largest = Math.max(...totals.map(({ name }) => right(name)))
  const svg = draw(
    {
      height: 110 + 46 * gaps.length,
      marginLeft: 62,
      marginRight: 66,
      x: {
        ...centred("% of dense's time"),
        grid: true,
        ticks: 6,
        ...(largest > 80
          ? { domain: [Math.min(0, ...pieces.map(({ share }) => share)), Math.max(100, largest)] }
          : {}),
      },
      y: { label: null, domain: totals.map(({ name }) => name), padding: 0.35 },
      marks: [
        Plot.barX(pieces, {
          y: 'name',
          x: 'share',
          fill: ({ part }) => colourOf(part),
          order: PART_NAMES,
          z: 'part',
          title: ({ name, part, share, ms: time }) =>
            `${name}, ${PARTS[part as Part].words}: ${share.toFixed(1)} % of dense's time (${ms(time)} ms)`,
        }),
        Plot.ruleX([0]),
        ...(largest > 80 ? [Plot.ruleX([100], { stroke: 'var(--dense)', strokeDasharray: '5 4' })] : []),
        Plot.text(totals, {
          y: 'name',
          x: ({ name }) => right(name),
          text: ({ share }) => `${share.toFixed(0)} % in all`,
          dx: 6,
          textAnchor: 'start',
        }),
      ],
    },
    {
      id: 'gap',
      title: "Sparse's time by part, in per cent of dense's",
      description: listed(
        gaps.map(
          (gap) =>
            `T=${gap.tokens}: ${((100 * gap.sparseMs) / gap.denseMs).toFixed(0)} % of the time of dense, ideal ${((100 * gap.ideal) / gap.denseMs).toFixed(1)} %`,
        ),
      ),
    },
  )
  const legend = PART_NAMES.map((part) => ({ colour: colourOf(part), words: PARTS[part].words }))
  return { caption: "Where sparse's time goes, op by op", svg, legend }
}

function speedupSentence(rows: ComparedRow[]): string {
  const sparse = rows.filter(({ dispatch }) => dispatch === 'sparse')
  if (sparse.length === 0) return 'Sparse and dense were not both timed, so there is no speed-up to show.'
  const slower = sparse.filter(({ speedup }) => speedup < 1)
  const best = sparse.reduce((most, row) => (row.speedup > most.speedup ? row : most))
  const how = EXECUTOR_WORDS[sparse[0].executor]
  const share = `${(100 * (best.speedup / best.idealSpeedup)).toFixed(0)} % of the ideal ${short(best.idealSpeedup)}`
  if (slower.length === sparse.length) {
    return `Sparse is slower than dense at every size measured (${how}), at best ${best.speedup.toFixed(2)} times as fast at T=${best.tokens}: ${share}.`
  }
  const lost =
    slower.length > 0
      ? ` It is slower than dense at ${listed(slower.map(({ tokens, speedup }) => `T=${tokens} (${speedup.toFixed(2)})`))}.`
      : ''
  return `Sparse is at best ${best.speedup.toFixed(2)} times as fast as dense, at T=${best.tokens} (${how}): ${share}.${lost}`
}

function gapSentence({ breakdown }: BenchReport, gaps: Gap[]): string {
  const gap = gaps.at(-1)
  if (!gap) {
    return breakdown.length > 0
      ? 'The gap is not explained by part: dense and sparse were not both timed op by op at the sizes whose parts were.'
      : 'The gap is not explained by part: the parts were not timed.'
  }
  const points = (part: Part) => (100 * gap[part]) / gap.denseMs
  const total = (100 * (gap.sparseMs - gap.ideal)) / gap.denseMs
  const parts = PART_NAMES.filter((part) => part !== 'ideal').sort((a, b) => points(b) - points(a))
  const said = parts.map((part) => `${PARTS[part].words} ${points(part).toFixed(1).replace('-', '−')}`)
  return `At T=${gap.tokens}, op by op, sparse takes ${((100 * gap.sparseMs) / gap.denseMs).toFixed(0)} % of dense's time where ${points('ideal').toFixed(1)} % is ideal; the ${total.toFixed(1)} points between are: ${listed(said)}.`
}

function tableOf(rows: ComparedRow[], gaps: Gap[]): Cells {
  const heading = [
    'what',
    'T',
    'times as fast',
    '95 %',
    'ideal',
    ...PART_NAMES.map((part) => `${part} ms`),
    'sparse ms',
    'dense ms',
  ]
  const none = (count: number) => new Array<string>(count).fill('-')
  return [
    heading,
    ...rows.map((row) => [
      `${row.dispatch}, ${row.executor}`,
      String(row.tokens),
      row.speedup.toFixed(2),
      row.speedupLow === null || row.speedupHigh === null
        ? '-'
        : `${row.speedupLow.toFixed(2)}..${row.speedupHigh.toFixed(2)}`,
      short(row.idealSpeedup),
      ...none(PART_NAMES.length + 2),
    ]),
    ...gaps.map((gap) => [
      `gap (parts times ${gap.scale.toFixed(2)})`,
      String(gap.tokens),
      (gap.denseMs / gap.sparseMs).toFixed(2),
      '-',
      short(gap.dims.E / gap.dims.K),
      ...PART_NAMES.map((part) => ms(gap[part])),
      ms(gap.sparseMs),
      ms(gap.denseMs),
    ]),
  ]
}
