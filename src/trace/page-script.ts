/**
 * What runs in the page of `tracePage`, as text: a page of one file can load nothing. It shows the decision under the
 * pointer, or else the selected one; clicks and arrow keys select.
 */
export const PAGE_SCRIPT = `
'use strict'
const { rows, layers } = JSON.parse(document.getElementById('trace').textContent)
const colours = JSON.parse(document.getElementById('colours').textContent)
const picture = document.getElementById('picture')
const panel = document.getElementById('decision')
const groups = new Map()
for (const g of picture.querySelectorAll('.decision')) groups.set(g.dataset.t + ':' + g.dataset.l, g)
let selected = { t: 0, l: 0 }

function element(tag, text, className) {
  const made = document.createElement(tag)
  if (text !== undefined) made.textContent = text
  if (className) made.className = className
  return made
}

const number = (value) => (typeof value === 'number' ? value.toFixed(4) : value === '-Infinity' ? '-inf' : '-')

function expertRow(layer, t, e) {
  const rank = layer.expertIndices[t].indexOf(e)
  const row = element('tr', undefined, rank < 0 ? '' : 'chosen')
  const name = element('th', String(e))
  name.scope = 'row'
  const swatch = element('span', '', 'swatch')
  swatch.style.background = colours[e]
  name.prepend(swatch)
  const score = layer.scores[t][e]
  const bar = element('span', '', 'bar')
  const share = Math.max(0, Math.min(1, Number(score)))
  bar.style.width = (Number.isFinite(share) ? 100 * share : 0) + '%'
  bar.style.background = colours[e]
  const barCell = element('td', undefined, 'barcell')
  barCell.append(bar)
  row.append(
    name,
    element('td', number(layer.routerLogits[t][e])),
    element('td', number(score)),
    barCell,
    element('td', rank < 0 ? '' : String(rank)),
    element('td', rank < 0 ? '' : number(layer.expertWeights[t][rank])),
  )
  return row
}

function show({ t, l }) {
  const [row, layer] = [rows[t], layers[l]]
  const text = row.text === null ? '' : ' ' + JSON.stringify(row.text)
  const title = 'Layer ' + layer.layer + ', token ' + row.position + (row.sequence ? ' of sequence ' + row.sequence : '')
  const chosen = layer.expertIndices[t].map((e, k) =>
    e < 0 ? 'dropped' : 'expert ' + e + ' (' + number(layer.expertWeights[t][k]) + ')',
  )
  const table = element('table')
  const head = element('tr')
  for (const name of ['expert', 'logit', 'score', '', 'rank', 'weight']) {
    const cell = element('th', name)
    cell.scope = 'col'
    head.append(cell)
  }
  const body = element('tbody')
  for (let e = 0; e < layer.numExperts; e++) body.append(expertRow(layer, t, e))
  const thead = element('thead')
  thead.append(head)
  table.append(thead, body)
  panel.replaceChildren(
    element('h2', title),
    element('p', row.token + text, 'token'),
    element('p', 'Chosen: ' + chosen.join(', ')),
    element('p', 'Margin to the best expert not chosen ' + number(layer.margins[t]) + ', entropy ' + number(layer.entropies[t]) + ' nats', 'muted'),
    table,
  )
}

function select(place) {
  groups.get(selected.t + ':' + selected.l).classList.remove('selected')
  selected = place
  const group = groups.get(place.t + ':' + place.l)
  group.classList.add('selected')
  group.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  show(place)
}

function placeAt(target) {
  const group = target.closest('.decision')
  return group ? { t: Number(group.dataset.t), l: Number(group.dataset.l) } : null
}

picture.addEventListener('click', (event) => {
  const place = placeAt(event.target)
  if (place) select(place)
})
picture.addEventListener('pointerover', (event) => show(placeAt(event.target) ?? selected))
picture.addEventListener('pointerleave', () => show(selected))

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }
picture.addEventListener('keydown', (event) => {
  const move = MOVES[event.key]
  const ends = { Home: { t: 0, l: 0 }, End: { t: rows.length - 1, l: layers.length - 1 } }
  if (!move && !ends[event.key]) return
  event.preventDefault()
  const within = (value, count) => Math.max(0, Math.min(count - 1, value))
  select(
    ends[event.key] ?? { t: within(selected.t + move[0], rows.length), l: within(selected.l + move[1], layers.length) },
  )
})
select(selected)
`
