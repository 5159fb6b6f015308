import type { RoutingTrace } from '../model/trace.ts'
import { counted } from '../text/units.ts'
import { escapeXml } from '../text/xml.ts'
import { expertColour } from './colours.ts'
import type { Decision } from './decision.ts'
import { traceToJson } from './json.ts'
import { pageDecisions } from './page-decisions.ts'
import { tracePicture } from './picture.ts'
import { layerStatistics, statisticsOf } from './statistics.ts'

/** What the page holds beside its data, as it stands in src/trace/page: Node reads the files, a bundler imports them as text. */
export interface PageAssets {
  /** page.js */
  script: string
  /** page.css */
  style: string
}

export interface PageOptions {
  /** What the tokens stand for, one a row; null without a tokenizer. */
  texts: readonly string[] | null
  /** The model's. */
  name: string
  /** What was changed about the routing, for the title; null: nothing. */
  changes: string | null
  assets: PageAssets
  /** The decision of a mixture layer and a row of the trace, both counted from 0. */
  decisionAt(layer: number, t: number): Decision
}

/**
 * A page of one file that asks for nothing else: the routing as a picture, every step of any decision, the load of each
 * layer, and the trace itself as JSON in `<script id="trace">`.
 */
export function tracePage(
  trace: RoutingTrace,
  { texts, name, changes, assets, decisionAt }: PageOptions,
): string {
  const { rows, layers } = trace
  const experts = Math.max(...layers.map(({ numExperts }) => numExperts))
  const colours = Array.from({ length: experts }, (_, e) => expertColour(e))
  const heading = `Routing of ${counted(rows.length, 'token')} by ${name}`
  const title = changes ? `${heading}, changed: ${changes}` : heading
  const json = traceToJson({ ...trace, hiddenStates: null }, texts)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escapeXml(title)}</title>
<style>
${assets.style}</style>
</head>
<body>
<h1>${escapeXml(heading)}</h1>
${changes ? `<p class="changed">Changed: <code>${escapeXml(changes)}</code></p>\n` : ''}<p class="muted">Tokens down, layers and experts across; a square is an expert that the token went to, fainter for a smaller
weight. Bars: tokens of each expert, dashed: an even load. Click a row of a layer for its numbers, or use the arrow keys.</p>
<main>
<div id="picture" class="card" tabindex="0" role="group" aria-label="Decisions: arrow up and down for tokens, left and right for layers" aria-controls="decision">
${tracePicture(trace, texts)}
</div>
<section id="decision" class="card" aria-live="polite" aria-label="The selected decision"></section>
</main>
<section class="card wide" aria-label="Layers in numbers">
${statisticsTable(trace)}
</section>
<script type="application/json" id="trace">${inScript(json)}</script>
<script type="application/json" id="steps">${inScript(JSON.stringify(pageDecisions(trace, decisionAt)))}</script>
<script type="application/json" id="colours">${inScript(JSON.stringify(colours))}</script>
<script>
${assets.script}</script>
</body>
</html>
`
}

function statisticsTable({ rows, layers }: RoutingTrace): string {
  const columns = statisticsOf(layers)
  const head = columns.map(
    ([, name, meaning]) => `<th scope="col" title="${escapeXml(meaning)}">${name}</th>`,
  )
  const body = layers.map((layer) => {
    const statistics = layerStatistics(layer, rows)
    const cells = columns.map(([, , , text]) => `<td>${text(statistics)}</td>`)
    return `<tr><th scope="row">${layer.layer}</th>${cells.join('')}</tr>`
  })
  return `<table><thead><tr><th scope="col">layer</th>${head.join('')}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table>`
}

/** JSON inside a script element: no `<` can end it or begin a comment. */
function inScript(json: string): string {
  return json.replaceAll('<', '\\u003c')
}
