import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { displayWidth } from '../../src/text/columns.ts'
import { expertColour } from '../../src/trace/colours.ts'
import { heatMap } from '../../src/trace/heatmap.ts'
import { anyTrace, layerOf, rowsOf, smallTrace } from './traces.ts'

const plain = { width: 80, depth: 0 } as const

test('tokens down, experts across, weights as shades, drops counted, totals below', () => {
  const lines = heatMap(smallTrace(), { ...plain, texts: ['Once', ' 漢字', '\n\x1b[31m'] })
  expect(`\n${lines.join('\n')}\n`).toBe(`
                       layer 0   layer 1
               expert   0 1 2 3   0 1 2 3
0  10  "Once"          ██▒▒ · ·  ██▓▓ · ·
1  11  " 漢字"         ████ · ·  ██▓▓ · ·
2  12  "\\n\\u{1b}[31m"   · ·██░░   · ·██ · ×1
               tokens   2 2 1 1   2 2 1 0
    load-balance loss  1.06      1.27

░ ▒ ▓ █ up to 1/4, 1/2, 3/4, all of the largest weight of the token in the
layer; · not chosen; ×n assignments of the token dropped by the capacity limit
`)
})

test('layers that do not fit side by side go below each other', () => {
  const lines = heatMap(smallTrace(), { ...plain, width: 30 })
  expect(`\n${lines.slice(0, 15).join('\n')}\n`).toBe(`
                   layer 0
           expert   0 1 2 3
            0  10  ██▒▒ · ·
            1  11  ████ · ·
            2  12   · ·██░░
           tokens   2 2 1 1
load-balance loss  1.06

                   layer 1
           expert   0 1 2 3
            0  10  ██▓▓ · ·
            1  11  ██▓▓ · ·
            2  12   · ·██ · ×1
           tokens   2 2 1 0
load-balance loss  1.27
`)
})

test('a layer that does not fit by itself gets narrow experts, then goes in parts; numbers run downwards', () => {
  const E = 24
  const scores = [Array.from({ length: E }, () => 1 / E)]
  const trace = { rows: rowsOf(1), layers: [layerOf({ scores, experts: [[3, 19]] })], hiddenStates: null }
  expect(
    `\n${heatMap(trace, { ...plain, width: 45 })
      .slice(0, 6)
      .join('\n')}\n`,
  ).toBe(`
                   layer 0
                             11111111112222
           expert  012345678901234567890123
            0  10  ···█···············█····
           tokens  000100000000000000010000
load-balance loss  1.00
`)
  const parts = heatMap(trace, { ...plain, width: 20 })
  expect(parts.filter((line) => line.includes('layer 0'))).toEqual([
    `${' '.repeat(19)}layer 0, 0-15`,
    `${' '.repeat(19)}layer 0, 16-23`,
  ])
})

test('the sequence stands in front where there are several', () => {
  const rows = [...rowsOf(2), ...rowsOf(1, 1)]
  const [, , first, , last] = heatMap({ ...smallTrace(), rows }, plain)
  expect([first.slice(0, 17).trim(), last.slice(0, 17).trim()]).toEqual(['0  0  10', '1  0  10'])
})

test('no line is wider than asked for, whatever the texts', () => {
  fc.assert(
    fc.property(
      anyTrace,
      fc.array(fc.string({ unit: 'binary' }), { minLength: 5, maxLength: 5 }),
      fc.integer({ min: 70, max: 120 }),
      (trace, texts, width) => {
        const lines = heatMap(trace, { width, depth: 0, texts })
        for (const line of lines)
          if (!line.startsWith('░')) expect(displayWidth(line)).toBeLessThanOrEqual(width)
      },
    ),
  )
})

describe('colour', () => {
  test('says the same as plain text, with one colour an expert', () => {
    const texts = ['a', 'b', 'c']
    const colours = heatMap(smallTrace(), { ...plain, texts, depth: 24 })

    expect(colours.map((line) => stripVTControlCharacters(line))).toEqual(
      heatMap(smallTrace(), { ...plain, texts }),
    )
    const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(expertColour(2).slice(at, at + 2), 16))
    const ofExpert2 = `\x1b[38;2;${r};${g};${b}m`
    expect(colours[1].split(ofExpert2)).toHaveLength(3) // in the heading of both layers
    expect(colours[4].split(`${ofExpert2}██`)).toHaveLength(3)
    expect(colours[2]).not.toContain(ofExpert2)
  })
})

test('what was changed stands above the map, escaped', () => {
  const plain = heatMap(smallTrace(), { width: 80, depth: 0 })
  const changed = heatMap(smallTrace(), { width: 80, depth: 0, changes: '--top-k 1 --replay a\x1bb' })
  expect(changed).toEqual(['changed: --top-k 1 --replay a\\u{1b}b', '', ...plain])
})
