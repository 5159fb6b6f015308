import { readFileSync } from 'node:fs'
import { escapeXml } from '../../src/text/xml.ts'
import type { BenchReport } from '../schema.ts'
import { latencySection, speedupSection, sweepsSection } from './along.ts'
import { conditionLines, methodLines } from './conditions.ts'
import type { Evaluations } from './evaluations.ts'
import { gapSection } from './gap.ts'
import { colourOf, LOOKS } from './palette.ts'
import { parametersSection } from './parameters.ts'
import { qualitySection } from './quality.ts'
import { remarks } from './remarks.ts'
import { rooflineSection } from './roofline.ts'
import { type LegendEntry, type Panel, type Section, saidOf, type Table } from './section.ts'
import { everyRow, leftOut, sections } from './tables.ts'
import { widthSection } from './widths.ts'
import { workSection } from './work.ts'

const STYLE = readFileSync(new URL('page.css', import.meta.url), 'utf8')

/** The report as a page of one file that asks for nothing else: conclusion, conditions, pictures, and all tables. */
export function benchPage(report: BenchReport, evaluations: Evaluations): string {
  const parts = [
    speedupSection(report),
    gapSection(report),
    latencySection(report),
    rooflineSection(report),
    workSection(report),
    widthSection(report),
    sweepsSection(report),
    parametersSection(report),
    qualitySection(evaluations),
  ]
  const { runtime } = report.conditions
  const title = escapeXml(`tinymoe bench on ${runtime.deviceName ?? runtime.device}`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>
${STYLE}</style>
</head>
<body>
<header>
<h1>${title}</h1>
${headerOf(report)}
</header>
<nav aria-label="Parts of this page">${parts.map(({ id, title: name }) => `<a href="#${id}">${escapeXml(name)}</a>`).join('\n')}<a href="#tables">All tables</a></nav>
<main>
${parts.map(pictureSection).join('\n')}
<section id="tables">
<h2>All tables</h2>
${[...sections(report).filter(({ panels }) => !panels), everyRow(report)].map(({ title, sentence, ...table }) => folded(title, paragraph(sentence, 'note') + htmlTable(table))).join('\n')}
</section>
</main>
</body>
</html>
`
}

function headerOf(report: BenchReport): string {
  const { runtime, preset } = report.conditions
  const meta = `${report.date}, preset ${preset}, ${runtime.device}, ${runtime.threads} threads, model ${report.model.name}`
  const missing = leftOut(report)
  const conditions = [...conditionLines(report), ...methodLines(report)].map(
    (line) => `<li>${escapeXml(line)}</li>`,
  )
  return [
    paragraph(meta, 'meta'),
    paragraph(report.conclusion, 'conclusion'),
    ...remarks(report).map((remark) => paragraph(remark, 'remark')),
    ...(missing.rows.length > 0 ? [folded('Rows left out, and why', htmlTable(missing))] : []),
    folded('Conditions', `<ul>${conditions.join('\n')}</ul>`),
  ].join('\n')
}

function paragraph(text: string, className: string): string {
  return `<p class="${className}">${escapeXml(text)}</p>`
}

/** A section with its pictures; the table is folded under them. */
function pictureSection(section: Section): string {
  const { id, title, dispatches = [], panels = [], ...table } = section
  const keys = dispatches.map((name) => ({ colour: colourOf(name), ...LOOKS[name] }))
  return [
    `<section id="${id}">`,
    `<h2>${escapeXml(title)}</h2>`,
    paragraph(saidOf(section), 'note'),
    legendOf(keys),
    `<div class="panels ${columnsOf(panels.length)}">${panels.map(figureOf).join('\n')}</div>`,
    table.rows.length > 0 ? folded('The numbers', htmlTable(table)) : paragraph('Not measured.', 'missing'),
    '</section>',
  ].join('\n')
}

/** Rows of three, unless that leaves gaps. */
function columnsOf(panels: number): 'single' | 'pairs' | 'triples' {
  if (panels === 1) return 'single'
  return panels === 2 || panels === 4 ? 'pairs' : 'triples'
}

function figureOf({ caption, svg, legend = [] }: Panel): string {
  return `<figure><figcaption>${escapeXml(caption)}</figcaption>${svg}${legendOf(legend)}</figure>`
}

/** A key an entry, in its colour; a swatch where there is no shape to tell it by. */
function legendOf(entries: LegendEntry[]): string {
  const keys = entries.map(({ colour, sign, words }) => {
    const mark = sign ? `<span class="sign">${sign}</span>` : '<span class="swatch"></span>'
    return `<span class="key" style="--key: ${colour}">${mark}${escapeXml(words)}</span>`
  })
  return `<div class="legend">${keys.join('\n')}</div>`
}

/** Shown on demand. */
function folded(summary: string, content: string): string {
  return `<details><summary>${escapeXml(summary)}</summary>\n${content}\n</details>`
}

/** The first column names the rows. */
function htmlTable({ columns, rows, words = false }: Table): string {
  const head = columns.map((cell) => `<th scope="col">${escapeXml(cell)}</th>`).join('')
  const body = rows.map(([name, ...cells]) => {
    return `<tr><th scope="row">${escapeXml(name)}</th>${cells.map((cell) => `<td>${escapeXml(cell)}</td>`).join('')}</tr>`
  })
  return `<div class="wide"><table${words ? ' class="words"' : ''}><thead><tr>${head}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>`
}
