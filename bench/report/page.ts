import { escapeXml } from '../../src/trace/picture.ts'
import type { BenchReport, Dispatch } from '../schema.ts'
import type { EvalSummary } from './evaluations.ts'
import { latencySection } from './latency.ts'
import { conditionLines, methodLines } from './markdown.ts'
import { folded, htmlTable } from './markup.ts'
import { colourOf, LOOKS } from './palette.ts'
import { parametersSection } from './parameters.ts'
import { qualitySection } from './quality.ts'
import { remarks } from './remarks.ts'
import { rooflineSection } from './roofline.ts'
import type { LegendEntry, PageSection, Panel } from './section.ts'
import { speedupSection } from './speedup.ts'
import { STYLE } from './style.ts'
import { sweepsSection } from './sweeps.ts'
import { details, leftOut, sections } from './tables.ts'
import { workSection } from './work.ts'

/** What was found of evaluations beside the report. */
export interface Evaluations {
  found: EvalSummary[]
  problems: string[]
}

/** The report as a page of one file that asks for nothing else: conclusion, conditions, pictures, and all tables. */
export function benchPage(report: BenchReport, evaluations: Evaluations): string {
  const parts = [
    speedupSection(report),
    latencySection(report),
    rooflineSection(report),
    workSection(report),
    sweepsSection(report),
    parametersSection(report),
    qualitySection(evaluations),
  ]
  const { runtime } = report.conditions
  const title = `tinymoe bench on ${runtime.deviceName ?? runtime.device}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeXml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${headerOf(report, title)}
<nav aria-label="Parts of this page">${parts.map(({ id, title: name }) => `<a href="#${id}">${escapeXml(name)}</a>`).join('\n')}<a href="#tables">All tables</a></nav>
<main>
${parts.map(sectionOf).join('\n')}
${tablesOf(report)}
</main>
</body>
</html>
`
}

function headerOf(report: BenchReport, title: string): string {
  const { runtime, preset } = report.conditions
  const meta = `${report.date}, preset ${preset}, ${runtime.device}, ${runtime.threads} threads, model ${report.model.name}`
  const missing = leftOut(report)
  const conditions = [...conditionLines(report), ...methodLines(report)].map(
    (line) => `<li>${escapeXml(line)}</li>`,
  )
  return [
    '<header>',
    `<h1>${escapeXml(title)}</h1>`,
    `<p class="meta">${escapeXml(meta)}</p>`,
    `<p class="conclusion">${escapeXml(report.conclusion)}</p>`,
    ...remarks(report).map((remark) => `<p class="remark">${escapeXml(remark)}</p>`),
    ...(missing.length > 1 ? [folded('Rows left out, and why', htmlTable(missing, 'words'))] : []),
    folded('Conditions', `<ul>${conditions.join('\n')}</ul>`),
    '</header>',
  ].join('\n')
}

function sectionOf({ id, title, sentence, missing, note, dispatches, panels, table }: PageSection): string {
  return [
    `<section id="${id}">`,
    `<h2>${escapeXml(title)}</h2>`,
    `<p>${escapeXml(sentence)}</p>`,
    ...(missing ? [`<p class="missing">${escapeXml(missing)}</p>`] : []),
    ...(dispatches.length > 0 ? [dispatchLegend(dispatches)] : []),
    ...(panels.length > 0
      ? [`<div class="panels ${columnsOf(panels.length)}">${panels.map(figureOf).join('\n')}</div>`]
      : []),
    ...(panels.length === 0 ? [] : [`<p class="note">${escapeXml(note)}</p>`]),
    ...(table.length > 1 ? [folded('The numbers', htmlTable(table))] : []),
    '</section>',
  ].join('\n')
}

/** Rows of three, unless that leaves gaps. */
function columnsOf(panels: number): 'single' | 'pairs' | 'triples' {
  if (panels === 1) return 'single'
  return panels === 2 || panels === 4 ? 'pairs' : 'triples'
}

function figureOf({ caption, svg, legend }: Panel): string {
  const under = legend ? legendOf(legend) : ''
  return `<figure><figcaption>${escapeXml(caption)}</figcaption>${svg}${under}</figure>`
}

function dispatchLegend(dispatches: Dispatch[]): string {
  return legendOf(dispatches.map((name) => ({ colour: colourOf(name), ...LOOKS[name] })))
}

/** A key an entry, in its colour; a swatch where there is no shape to tell it by. */
function legendOf(entries: LegendEntry[]): string {
  const keys = entries.map(({ colour, sign, words }) => {
    const mark = sign ? `<span class="sign">${sign}</span>` : '<span class="swatch"></span>'
    return `<span class="key" style="--key: ${colour}">${mark}${escapeXml(words)}</span>`
  })
  return `<div class="legend">${keys.join('\n')}</div>`
}

/** The tables of the Markdown report, and every row. */
function tablesOf(report: BenchReport): string {
  const tables = sections(report).map(({ title, note, cells }) =>
    folded(title, `<p class="note">${escapeXml(note)}</p>${htmlTable(cells)}`),
  )
  return [
    '<section id="tables">',
    '<h2>All tables</h2>',
    ...tables,
    folded('Every row', htmlTable(details(report))),
    '</section>',
  ].join('\n')
}
