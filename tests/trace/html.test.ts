import fc from 'fast-check'
import { parseHTML } from 'linkedom'
import { expect, test } from 'vitest'
import { expertColour } from '../../src/trace/colours.ts'
import { tracePage } from '../../src/trace/html.ts'
import { traceFromJson } from '../../src/trace/json.ts'
import { readPageAssets } from '../../src/trace/page/read.ts'
import { tracePicture } from '../../src/trace/picture.ts'
import { decisionsOf } from './decisions.ts'
import { anyTrace, smallTrace } from './traces.ts'

function pageOf(options: Partial<Parameters<typeof tracePage>[1]> = {}): string {
  const trace = smallTrace()
  return tracePage(trace, {
    texts: null,
    name: 'model',
    changes: null,
    assets: readPageAssets(),
    decisionAt: decisionsOf(trace),
    ...options,
  })
}

const HOSTILE = ['</script><script>alert(1)</script>', '<!--<img src=x onerror=alert(1)>', '"&\u2028\x00']

test('the page holds the trace itself, whatever its texts', () => {
  const page = pageOf({ texts: HOSTILE, name: '<b>model</b>', changes: '<b>' })
  const [, json] = /<script type="application\/json" id="trace">([\s\S]*?)<\/script>/.exec(page)!
  expect(traceFromJson(json)).toEqual({ trace: smallTrace(), texts: HOSTILE })
  expect(page).not.toContain('<script>alert')
  expect(page).not.toContain('<img')
  expect(page).not.toContain('<b>')
  expect(page.match(/<\/script>/g)).toHaveLength(4)
})

test('the page asks for nothing: no address but that of the SVG format, and a policy that forbids it', () => {
  const page = pageOf()
  expect(page).toContain(
    `content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"`,
  )
  expect(page.match(/\w+:\/\/[^"\s]*/g)).toEqual(['http://www.w3.org/2000/svg'])
  expect(page).not.toMatch(/\b(?:src|href)=|@import|url\(/)
})

test('its script is JavaScript, and its ids are there', () => {
  const page = pageOf()
  const script = /<script>([\s\S]*?)<\/script>/.exec(page)![1]
  expect(() => new Function(script)).not.toThrow()
  for (const [, id] of script.matchAll(/getElementById\('(\w+)'\)/g)) expect(page).toContain(`id="${id}"`)
  expect(page).toContain('prefers-color-scheme: dark')
})

test('the picture has one decision a token and layer, one square an assignment that was not dropped', () => {
  const picture = tracePicture(smallTrace(), ['Once', ' upon', '<a&"'])
  expect(picture.match(/class="decision"/g)).toHaveLength(6)
  expect(picture.match(/fill-opacity/g)).toHaveLength(11)
  expect(picture).toContain('<title>dropped\nexpert 2: 0.400</title>')
  expect(picture).toContain('&quot;&lt;a&amp;\\&quot;&quot;')
  expect(picture).toContain(`fill="${expertColour(3)}" fill-opacity="0.29"`) // 0.2 + 0.8 * 0.1 / 0.9
})

test('without texts there is room for what stands below the tokens', () => {
  const [, x] = /class="muted end" x="([\d.]+)" y="\d+">load-balance loss</.exec(
    tracePicture(smallTrace(), null),
  )!
  expect(Number(x)).toBeGreaterThan('load-balance loss'.length * 7.3) // a character of the 12 pixel monospace font
})

test('every picture is well-formed: tags close in order, attributes are numbers', () => {
  fc.assert(
    fc.property(anyTrace, (trace) => {
      const open: string[] = []
      const picture = tracePicture(trace, null)
      for (const [, close, name, self] of picture.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
        if (close) expect(open.pop()).toBe(name)
        else if (!self) open.push(name)
      }
      expect(open).toEqual([])
      expect(picture).not.toMatch(/"(?:NaN|-?Infinity|undefined)"/)
    }),
  )
})

test('what was changed stands in the title, and above a picture alone', () => {
  const changes = '--top-k 1 --disable 3'
  const page = pageOf({ changes })
  expect(page).toContain('<title>Routing of 3 tokens by model, changed: --top-k 1 --disable 3</title>')
  expect(page).toContain('Changed: <code>--top-k 1 --disable 3</code>')
  expect(pageOf()).not.toMatch(/changed:/i)
  const [plain, changed] = [tracePicture(smallTrace(), null), tracePicture(smallTrace(), null, changes)]
  expect(changed).toContain('>changed: --top-k 1 --disable 3</text>')
  expect(changed).toContain('2 layers, changed: --top-k 1 --disable 3"')
  const height = (picture: string) => Number(/ height="(\d+)"/.exec(picture)![1])
  expect(height(changed)).toBe(height(plain) + 18)
})

test('the panel shows the score that decides, and every step with its numbers', () => {
  const { document } = parseHTML(pageOf())
  const [script] = [...document.querySelectorAll('script:not([type])')]
  Object.assign(document.querySelector('svg')!.constructor.prototype, { scrollIntoView() {} })
  for (const g of document.querySelectorAll('.decision')) Object.assign(g, { scrollIntoView() {} })
  new Function('document', script.textContent)(document)
  const panel = document.getElementById('decision')!
  const heads = [...panel.querySelectorAll('table')[0].querySelectorAll('thead th')].map(
    (th) => th.textContent,
  )
  expect(heads).toEqual(['expert', 'logit', 'score (decides)', '', 'rank', 'weight'])
  const chosen = [...panel.querySelectorAll('tr.chosen')].map((row) =>
    [...row.children].map((cell) => cell.textContent),
  )
  expect(chosen).toEqual([
    ['0', '-0.6931', '0.5000', '', '0', '0.7500'],
    ['1', '-1.3863', '0.2500', '', '1', '0.2500'],
  ])
  expect([...panel.querySelectorAll('h3')].map((h3) => h3.textContent)).toEqual([
    '1  scoress = softmax(z)',
    '2  choosing-biasdoes not apply',
    '3  group-limitdoes not apply',
    '4  top-kindices = the 2 largest c',
    '5  renormalisew = s[indices] / sum(s[indices])',
    '6  scaledoes not apply',
    '7  capacitydoes not apply',
  ])
})
