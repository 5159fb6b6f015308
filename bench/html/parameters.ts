import * as Plot from '@observablehq/plot'
import { countParameters } from '../../src/cost/parameters.ts'
import { publishedModels, publishedShape } from '../../src/cost/published.ts'
import type { BenchReport } from '../types.ts'
import { centred, draw, logScale, short } from './draw.ts'
import type { PageSection, Panel } from './section.ts'

/** Parameters of something, in all and used for one token. */
export interface Size {
  name: string
  total: number
  active: number
}

/** The bench's model and layer, then published models by size, as counted from their configs. */
export function sizesOf({ model, layer }: BenchReport): { own: Size[]; published: Size[] } {
  const { total, active } = model.parameters
  const published = publishedModels().map((published) => {
    const counted = countParameters(publishedShape(published))
    return { name: published.name.replace(/^.*\//, ''), total: counted.total, active: counted.active }
  })
  return {
    own: [
      { name: `here: ${model.name}`, total, active },
      { name: 'here: the layer', total: layer.totalParameters, active: layer.activeParameters },
    ],
    published: published.sort((a, b) => a.total - b.total),
  }
}

export function parametersSection(report: BenchReport): PageSection {
  const { own, published } = sizesOf(report)
  const [model, layer] = own
  const mixtures = published.filter(({ total, active }) => active < total)
  const shares = mixtures.map(shareOf)
  const all = [...own, ...published]
  return {
    id: 'parameters',
    title: 'Total against active parameters',
    sentence: `A token uses ${percent(shareOf(model))} of the parameters of ${model.name.replace('here: ', '')} and ${percent(shareOf(layer))} of the layer's. In the ${mixtures.length} published mixtures shown it is ${percent(Math.min(...shares))} to ${percent(Math.max(...shares))}.`,
    note: 'Memory is paid for all parameters, FLOPs only for the active ones: the longer the line, the further the two are apart. Active are K of E routed experts and everything else in full, embedding tables included. Counted from published configs (tinymoe inspect has the sources); the axis is logarithmic.',
    dispatches: [],
    panels: [sizesPanel(all)],
    table: [
      ['model', 'total', 'active', 'share'],
      ...all.map((size) => [
        size.name,
        size.total.toLocaleString('en'),
        size.active.toLocaleString('en'),
        percent(shareOf(size)),
      ]),
    ],
  }
}

/** Pixels that a character of a name takes at most, on average. */
const NAME_CHARACTER = 6.4

function sizesPanel(sizes: Size[]): Panel {
  const amounts = sizes.flatMap(({ total, active }) => [total, active])
  const svg = draw(
    {
      width: 420,
      height: 64 + 21 * sizes.length,
      marginLeft: 22 + NAME_CHARACTER * Math.max(...sizes.map(({ name }) => name.length)),
      marginRight: 48,
      marginTop: 10,
      x: {
        ...logScale(Math.min(...amounts) / 1.5, Math.max(...amounts) * 1.5),
        ...centred('parameters'),
        grid: true,
      },
      y: { label: null, domain: sizes.map(({ name }) => name), type: 'point', padding: 0.5 },
      marks: [
        Plot.ruleY(sizes, { y: 'name', x1: 'active', x2: 'total', stroke: 'var(--muted)', strokeWidth: 2 }),
        Plot.dot(sizes, {
          y: 'name',
          x: 'total',
          r: 4.5,
          stroke: 'var(--dense)',
          fill: 'var(--paper)',
          strokeWidth: 2,
          symbol: 'square',
          title: hint,
        }),
        Plot.dot(sizes, { y: 'name', x: 'active', r: 4.5, fill: 'var(--sparse)', title: hint }),
        Plot.text(sizes, {
          y: 'name',
          frameAnchor: 'right',
          textAnchor: 'end',
          dx: 46,
          text: (size: Size) => percent(shareOf(size)),
        }),
      ],
    },
    {
      id: 'sizes',
      title: 'Total and active parameters',
      description: `For each of ${sizes.length} models a line from its active to its total parameters, with the share that is active.`,
    },
  )
  return {
    caption: 'Active and total parameters, and the share that is active',
    svg,
    legend: [
      { colour: 'var(--sparse)', sign: '●', words: 'active for one token' },
      { colour: 'var(--dense)', sign: '□', words: 'in all' },
    ],
  }
}

function hint(size: Size): string {
  return `${size.name}: ${short(size.active)} active of ${short(size.total)}, ${percent(shareOf(size))}`
}

function shareOf({ total, active }: Size): number {
  return active / total
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
}
