// Runs in the page of `tracePage`. It shows the decision under the pointer, or else the selected one; clicks and arrow keys select.

const { rows, layers } = JSON.parse(document.getElementById('trace').textContent)
const { words, decisions } = JSON.parse(document.getElementById('steps').textContent)
const colours = JSON.parse(document.getElementById('colours').textContent)
const picture = document.getElementById('picture')
const panel = document.getElementById('decision')
const groups = new Map()
for (const g of picture.querySelectorAll('.decision')) groups.set(`${g.dataset.t}:${g.dataset.l}`, g)
let selected = { t: 0, l: 0 }

function element(tag, text, className) {
  const made = document.createElement(tag)
  if (text !== undefined) made.textContent = text
  if (className) made.className = className
  return made
}

const number = (value) =>
  typeof value === 'number' ? value.toFixed(4) : value === '-Infinity' ? '-inf' : '-'

/** Cells of a row of a table; the first is its heading. */
function tableRow(cells, tag) {
  const row = element('tr')
  cells.forEach((text, i) => {
    const cell = element(i === 0 ? 'th' : tag, text)
    if (i === 0) cell.scope = 'row'
    row.append(cell)
  })
  return row
}

/** The number of each expert that its step or the last one before it gave under a name such as z, s or c; null without. */
function valuesOf(decision, label) {
  let found = null
  for (const [w, experts] of decision.steps) {
    words[w].experts.forEach((name, i) => {
      if (name === label || name === `${label} after`) found ??= experts[i].split(' ')
    })
  }
  return found
}

/** An expert a row, with the numbers that lead to its choice; the last column of them decides. */
function expertTable(layer, t, decision) {
  const columns = [['logit', valuesOf(decision, 'z')]]
  const add = (name, values) => {
    if (values && String(values) !== String(columns.at(-1)[1])) columns.push([name, values])
  }
  add('score', valuesOf(decision, 's'))
  add('bias', valuesOf(decision, 'bias'))
  add('', decision.compared.split(' '))
  const decides = columns.at(-1)
  decides[0] += decides[0] ? ' (decides)' : 'decides'
  const deciding = decision.compared.split(' ').map((text) => (text === '-inf' ? null : Number(text)))
  const finite = deciding.filter((value) => value !== null)
  const [low, high] = [Math.min(0, ...finite), Math.max(...finite)]
  const table = element('table')
  const head = element('thead')
  const headings = element('tr')
  for (const name of ['expert', ...columns.map(([name]) => name), '', 'rank', 'weight']) {
    const cell = element('th', name)
    cell.scope = 'col'
    headings.append(cell)
  }
  head.append(headings)
  const body = element('tbody')
  for (let e = 0; e < layer.numExperts; e++) {
    const rank = layer.expertIndices[t].indexOf(e)
    const row = tableRow([String(e), ...columns.map(([, values]) => values[e])], 'td')
    row.className = rank < 0 ? '' : 'chosen'
    row.firstChild.prepend(swatch(e))
    const barCell = element('td', undefined, 'barcell')
    if (deciding[e] !== null && high > low) {
      const bar = element('span', '', 'bar')
      bar.style.width = `${(100 * (deciding[e] - low)) / (high - low)}%`
      bar.style.background = colours[e]
      barCell.append(bar)
    }
    row.append(
      barCell,
      element('td', rank < 0 ? '' : String(rank)),
      element('td', rank < 0 ? '' : number(layer.expertWeights[t][rank])),
    )
    body.append(row)
  }
  table.append(head, body)
  return table
}

function swatch(e) {
  const made = element('span', '', 'swatch')
  made.style.background = colours[e]
  return made
}

/** Columns of a step's table, as many as fit. */
const BAND = 8

/** Experts or ranks across, in bands, the step's values down. */
function valueTable(heading, labels, texts, chosen) {
  const values = texts.map((text) => text.split(' '))
  const scroll = element('div', undefined, 'scroll')
  for (let from = 0; from < values[0].length; from += BAND) {
    const places = values[0].slice(from, from + BAND).map((_, i) => from + i)
    const table = element('table')
    const head = element('thead')
    head.append(tableRow([heading, ...places.map((i) => i + (chosen.includes(i) ? '*' : ''))], 'th'))
    const body = element('tbody')
    for (const [r, label] of labels.entries()) {
      body.append(tableRow([label, ...places.map((i) => values[r][i])], 'td'))
    }
    table.append(head, body)
    scroll.append(table)
  }
  return scroll
}

function stepSection([w, experts, ranks, chosen], i) {
  const { name, formula, sentence, applies, experts: expertLabels, ranks: rankLabels } = words[w]
  const section = element('div', undefined, applies ? 'step' : 'step absent')
  const heading = element('h3', `${i + 1}  ${name}`)
  heading.append(element('code', applies ? formula : 'does not apply'))
  section.append(heading, element('p', sentence, 'muted'))
  if (experts.length > 0) section.append(valueTable('expert', expertLabels, experts, chosen))
  if (ranks.length > 0) section.append(valueTable('rank', rankLabels, ranks, []))
  return section
}

function show({ t, l }) {
  const [row, layer, decision] = [rows[t], layers[l], decisions[t][l]]
  const text = row.text === null ? '' : ` ${JSON.stringify(row.text)}`
  const title = `Layer ${layer.layer}, token ${row.position}${row.sequence ? ` of sequence ${row.sequence}` : ''}`
  const chosen = layer.expertIndices[t].map((e, k) =>
    e < 0 ? 'dropped' : `expert ${e} (${number(layer.expertWeights[t][k])})`,
  )
  panel.replaceChildren(
    element('h2', title),
    element('p', row.token + text, 'token'),
    element('p', `Chosen: ${chosen.join(', ')}`),
    element(
      'p',
      'Margin to the best expert not chosen ' +
        number(layer.margins[t]) +
        ', entropy ' +
        number(layer.entropies[t]) +
        ' nats',
      'muted',
    ),
    expertTable(layer, t, decision),
    ...decision.steps.map(stepSection),
    element('p', decision.verdict, 'muted'),
  )
}

function select(place) {
  groups.get(`${selected.t}:${selected.l}`).classList.remove('selected')
  selected = place
  const group = groups.get(`${place.t}:${place.l}`)
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
    ends[event.key] ?? {
      t: within(selected.t + move[0], rows.length),
      l: within(selected.l + move[1], layers.length),
    },
  )
})
select(selected)
