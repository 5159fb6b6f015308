import * as Plot from '@observablehq/plot'
import { publishedModels } from '../../src/cost/find-published.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { publishedShape } from '../../src/cost/published.ts'
import type { BenchReport } from '../schema.ts'
import { centred, logScale, panel } from './chart.ts'
import { percent, short } from './format.ts'
import { type Panel, type Section, tableOf } from './section.ts'

/** Parameters of something, in all and used for one token. */
interface Size {
  name: string
  total: number
  active: number
}

/** The bench's model and layer, then published models by size, as counted from their configs. */
export function parametersSection({ model, layer }: BenchReport): Section {
  const { total, active } = model.parameters
  const own = [
    { name: `here: ${model.name}`, total, active },
    { name: 'here: the layer', total: layer.totalParameters, active: layer.activeParameters },
  ]
  const published = publishedModels()
    .map((one): Size => {
      const counted = countParameters(publishedShape(one))
      return { name: one.name.replace(/^.*\//, ''), total: counted.total, active: counted.active }
    })
    .sort((a, b) => a.total - b.total)
  const all = [...own, ...published]
  return {
    id: 'parameters',
    title: 'Total against active parameters',
    sentence:
      'Memory is paid for all parameters, FLOPs only for the active ones. tinymoe inspect has the sources.',
    panels: [sizesPanel(all)],
    ...tableOf(all, [
      ['model', ({ name }) => name],
      ['total', (size) => size.total.toLocaleString('en')],
      ['active', (size) => size.active.toLocaleString('en')],
      ['share', shareOf],
    ]),
  }
}

function shareOf({ total, active }: Size): string {
  return percent(active / total)
}

/** Pixels that a character of a name takes at most, on average. */
const NAME_CHARACTER = 6.4

function sizesPanel(sizes: Size[]): Panel {
  return panel(
    {
      id: 'sizes',
      caption: 'Active and total parameters, and the share that is active',
      legend: [
        { colour: 'var(--sparse)', sign: '●', words: 'active for one token' },
        { colour: 'var(--dense)', sign: '□', words: 'in all' },
      ],
    },
    {
      width: 420,
      height: 64 + 21 * sizes.length,
      marginLeft: 22 + NAME_CHARACTER * Math.max(...sizes.map(({ name }) => name.length)),
      marginRight: 48,
      marginTop: 10,
      x: {
        ...logScale(sizes.flatMap(({ total, active }) => [total, active])),
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
        Plot.text(sizes, { y: 'name', frameAnchor: 'right', textAnchor: 'end', dx: 46, text: shareOf }),
      ],
    },
  )
}

function hint(size: Size): string {
  return `${size.name}: ${short(size.active)} active of ${short(size.total)}, ${shareOf(size)}`
}
