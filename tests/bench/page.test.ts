import { parseHTML } from 'linkedom'
import { describe, expect, test } from 'vitest'
import type { EvalSummary } from '../../bench/report/evaluations.ts'
import { benchPage } from '../../bench/report/page.ts'
import { LOOKS, PARTS } from '../../bench/report/palette.ts'
import { publishedModels } from '../../src/cost/find-published.ts'
import { fullReport } from './full-report.ts'
import { report, row } from './rows.ts'

const MOE: EvalSummary = {
  name: 'moe', mixture: true, split: 'heldout', loss: 1.2, flopsPerToken: 9e6, total: 12e6, active: 4e6,
} // biome-ignore format: an evaluation
const DENSE: EvalSummary = {
  ...MOE,
  name: 'dense',
  mixture: false,
  loss: 1.3,
  flopsPerToken: 18e6,
  total: 4e6,
}
const NONE = { found: [], problems: [] }

const html = benchPage(fullReport(), { found: [MOE, DENSE], problems: ['eval-x.json is no evaluation'] })
const { document } = parseHTML(html)
/** Titles of the marks in a picture, as a pointer over them shows them. */
function marks(id: string): string[] {
  const svg = document.getElementById(`${id}-title`)?.parentElement
  return [...(svg?.querySelectorAll('title') ?? [])].slice(1).map(({ textContent }) => textContent ?? '')
}
const sentence = (id: string, page = document) => page.querySelector(`#${id} h2 + p`)?.textContent ?? ''

describe('pictures', () => {
  test('all are there, each with a title and a description', () => {
    const svgs = [...document.querySelectorAll('svg')]
    const ids = svgs.map((svg) => svg.querySelector('title')?.id.replace(/-title$/, ''))
    expect(ids).toEqual([
      'speed-up-recorded', 'speed-up-eager', 'gap', 'latency-recorded', 'latency-eager',
      'roofline-layer-recorded', 'roofline-layer-eager', 'roofline-model-recorded',
      'flops-layer', 'bytes-layer', 'flops-model', 'bytes-model', 'widths-tokens', 'widths-bytes',
      'sweep-layer-E', 'sweep-layer-K', 'sweep-layer-D', 'sweep-layer-H', 'sweep-layer-routing', 'sweep-prefill-batch', 'sweep-decode-batch',
      'sizes', 'loss',
    ]) // biome-ignore format: one a section
    for (const svg of svgs) {
      const [title, description] = (svg.getAttribute('aria-labelledby') ?? '').split(' ')
      expect(document.getElementById(title)?.textContent).toBeTruthy()
      expect(document.getElementById(description)?.textContent).toBeTruthy()
    }
    const all = [...document.querySelectorAll('[id]')].map(({ id }) => id)
    expect(new Set(all).size).toBe(all.length)
  })

  test('every mark of an axis has its label, on logarithmic ones too', () => {
    const labels = [...document.querySelectorAll('svg [aria-label$="tick label"] text')]
    expect(labels.length).toBeGreaterThan(100)
    expect(labels.filter(({ textContent }) => textContent === '')).toEqual([])
  })

  test.each([
    [[1, 64, 1024, 8192, 65_536]], // the gpu preset's
    [[1, 90, 100, 110, 1024]], // would lie on each other
  ])('the axis of tokens has a label for each T that was measured, none on another: %j', (tokens) => {
    const group = (T: number) => `layer/D512-H1024-E16-K2/T${T}/real`
    const rows = tokens.flatMap((T) =>
      (['dense', 'sparse'] as const).map((dispatch) =>
        row({ group: group(T), id: `${T} ${dispatch}`, tokens: T, dispatch }),
      ),
    )
    const page = parseHTML(benchPage(report(rows), NONE)).document
    for (const id of ['speed-up-eager', 'latency-eager']) {
      const svg = page.getElementById(`${id}-title`)?.parentElement
      const labels = [...(svg?.querySelectorAll('[aria-label="x-axis tick label"] text') ?? [])]
      expect(labels.map(({ textContent }) => Number(textContent))).toEqual(tokens)
      const places = labels.map((label) => {
        const [x] = /[\d.]+/.exec(label.getAttribute('transform')!)!
        return {
          x: Number(x),
          line: label.querySelector('tspan')?.getAttribute('y') ?? '',
          half: 3 * label.textContent!.length,
        }
      })
      for (const [i, a] of places.entries())
        for (const b of places.slice(i + 1))
          expect(a.line !== b.line || b.x - b.half >= a.x + a.half, `${tokens} ${a.x} ${b.x}`).toBe(true)
    }
  })

  test('latency has a mark a timed row of the sweep, with its numbers', () => {
    // Four sizes by dense, sparse and two twins; gather at the two smallest.
    expect(marks('latency-recorded')).toHaveLength(18)
    expect(marks('latency-recorded')[0]).toBe('dense, recorded, T=1: 10.4 ms (9.56 to 11.2, n=21)')
  })

  test('speed-up has all of these but dense, and the ideal', () => {
    expect(marks('speed-up-eager')).toHaveLength(14)
    expect(document.getElementById('speed-up-eager-title')?.parentElement?.textContent).toContain('ideal 8')
  })

  test('the gap has the ideal and five parts for each breakdown', () => {
    expect(marks('gap')).toHaveLength(12)
    expect(marks('gap')[0]).toMatch(/^T=1, ideal: K\/E of dense: 12\.5 % of dense's time \(/)
  })

  test('roofline has every timed row', () => {
    const count = marks('roofline-layer-recorded').length + marks('roofline-layer-eager').length
    expect(count + marks('roofline-model-recorded').length).toBe(fullReport().rows.length)
  })

  test('FLOPs have a bar a dispatch, bytes a bar a dispatch and size', () => {
    expect(marks('flops-layer')).toEqual([
      'layer, dense: 50.3 MFLOP', 'layer, sparse: 6.31 MFLOP', 'layer, gather: 6.31 MFLOP',
      'layer, twin-active: 6.29 MFLOP', 'layer, twin-total: 50.3 MFLOP',
    ]) // biome-ignore format: bars
    expect(marks('bytes-layer')).toHaveLength(18)
    expect(marks('bytes-model')).toHaveLength(4)
  })

  test('widths have a bar a width and dispatch, of tokens a second and of bytes', () => {
    expect(marks('widths-bytes')).toEqual([
      'float32, dense: 14 MB',
      'float32, sparse: 4.4 MB',
      '4 bits in groups of 32, dense: 2.24 MB',
      '4 bits in groups of 32, sparse: 0.704 MB',
    ])
    expect(marks('widths-tokens')[3]).toBe('4 bits in groups of 32, sparse: 3700 tokens/s')
    expect(document.querySelectorAll('#widths table tr')).toHaveLength(1 + 2)
    expect(document.querySelector('#tables')?.textContent).not.toContain('What a parameter costs')
  })

  test('evaluations are told apart by a key each, with its loss', () => {
    const near = ['a', 'b', 'c'].map((name, i) => ({ ...MOE, name, loss: 1.2 + 1e-6 * i }))
    const page = parseHTML(benchPage(report([]), { found: [...near, DENSE], problems: [] })).document
    const keys = [...page.querySelectorAll('#quality .key')]
    expect(keys.map(({ textContent }) => textContent)).toEqual([
      '●a, loss 1.200', '●b, loss 1.200', '●c, loss 1.200', '■dense, loss 1.300',
    ]) // biome-ignore format: a key each
    expect(new Set(keys.map((key) => key.getAttribute('style'))).size).toBe(4)
  })

  test('sizes have two points for the model, the layer and each published model; loss one an evaluation', () => {
    expect(marks('sizes')).toHaveLength(2 * (2 + publishedModels().length))
    expect(marks('sizes')).toContain('here: the layer: 3.15M active of 25.2M, 13 %')
    expect(marks('loss')).toHaveLength(2)
  })
})

describe('sentences say what the data says', () => {
  const slow = parseHTML(benchPage(fullReport(12), NONE)).document

  test('of the gap and of the other sizes, where sparse is faster and where it is slower', () => {
    expect(sentence('gap-by-part')).toMatch(/^At T=256 sparse takes 13 % of dense's time where 12\.5 % is/)
    expect(sentence('gap-by-part', slow)).toMatch(/sparse takes 161 % of dense's time where 12\.5 % is ideal/)
    expect(sentence('sweeps')).toContain('Sparse is slower than dense in 0 of 17 cases.')
    expect(sentence('sweeps', slow)).toContain('Sparse is slower than dense in 11 of 17 cases.')
    expect(sentence('quality')).toContain('Left out: eval-x.json is no evaluation.')
  })

  test('places of a sweep that were not measured stay on the axis', () => {
    const full = fullReport()
    const rows = full.rows.map((one) =>
      one.dims?.E === 32 ? { ...one, medianMs: null, p10Ms: null, p90Ms: null, speedup: null } : one,
    )
    const page = parseHTML(benchPage({ ...full, rows }, NONE)).document
    const panel = page.getElementById('sweep-layer-E-title')?.parentElement
    const labels = [...(panel?.querySelectorAll('[aria-label="x-axis tick label"] text') ?? [])]
    expect(labels.map(({ textContent }) => textContent)).toEqual(['4', '8', '16', '32'])
  })

  test('where nothing was measured', () => {
    const empty = parseHTML(benchPage(report([row({ medianMs: null, p10Ms: null, p90Ms: null, gflopsPerSecond: null, speedup: null, n: 0, samplesMs: [], skipped: 'x < y' })]), NONE)).document // biome-ignore format: a row
    for (const id of ['latency', 'speed-up', 'roofline', 'sweeps', 'widths'])
      expect(empty.querySelector(`#${id} .missing`)?.textContent).toBe('Not measured.')
    expect(sentence('quality', empty)).toContain('tinymoe eval <dir> --out')
  })
})

describe('the file', () => {
  test('asks for nothing else: no script, no link out, and a policy that forbids loading', () => {
    expect(html).not.toMatch(/https?:|src=|@import|<script|<link|url\(/)
    expect(html).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`)
    for (const a of document.querySelectorAll('a')) {
      expect(document.querySelector(a.getAttribute('href') ?? '')).not.toBeNull()
    }
  })

  test('has every colour for light and for dark, and uses no other for dispatches', () => {
    const [light, dark] = html.split('@media (prefers-color-scheme: dark)')
    for (const name of Object.keys({ ...LOOKS, ...PARTS })) {
      const [inLight, inDark] = [light, dark].map((css) => new RegExp(`--${name}: (#\\w{6});`).exec(css)?.[1])
      expect(inLight).toBeTruthy()
      expect(inDark).toBeTruthy()
      expect(inLight).not.toBe(inDark)
    }
    const fills = [...document.querySelectorAll('#latency svg [fill], #work svg [fill]')].map((mark) =>
      mark.getAttribute('fill'),
    )
    const dispatches = new Set(fills.filter((fill) => fill?.startsWith('var(')))
    expect([...dispatches].sort()).toEqual(
      Object.keys(LOOKS)
        .map((name) => `var(--${name})`)
        .sort(),
    )
    expect(fills.filter((fill) => fill?.startsWith('#'))).toEqual([])
  })

  test('texts from the report are escaped everywhere', () => {
    const evil = '<img src=x onerror=alert(1)>&"'
    const { conditions, model } = report([])
    const page = benchPage(
      report([row({ id: evil, skipped: evil })], {
        conclusion: evil,
        model: { ...model, name: evil, text: evil },
        conditions: {
          ...conditions,
          commit: evil,
          runtime: { ...conditions.runtime, deviceName: evil, reason: evil },
        },
      }),
      { found: [{ ...MOE, name: evil }], problems: [evil] },
    )
    expect(page).not.toContain('<img')
    expect(parseHTML(page).document.querySelector('.conclusion')?.textContent).toBe(evil)
    expect(parseHTML(page).document.querySelector('img')).toBeNull()
  })

  test('conclusion, conditions and remarks stand before the pictures, the tables behind', () => {
    const order = ['class="conclusion"', 'class="remark"', 'TensorFlow 2.21.0, tfjs', '<svg', 'Every row']
    const places = order.map((text) => html.indexOf(text))
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(places[0]).toBeGreaterThan(0)
  })
})
