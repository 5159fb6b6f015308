import { parseHTML } from 'linkedom'
import { expect, test } from 'vitest'
import { speedupPicture } from '../../bench/picture.ts'
import type { Row } from '../../bench/schema.ts'
import { report, row } from './rows.ts'

const recorded = (values: Partial<Row>) => row({ executor: 'recorded', ...values })

const svg = speedupPicture(
  report(
    [
      recorded({ dispatch: 'dense', speedup: 1 }),
      recorded({ tokens: 1, speedup: 3.14 }),
      recorded({ tokens: 1, dispatch: 'gather', speedup: 7.4, speedupLow: 7, speedupHigh: 7.8 }),
      recorded({ tokens: 1024, speedup: 0.3, speedupLow: null, speedupHigh: null }),
      recorded({ tokens: 256, speedup: null }),
      recorded({ kind: 'decode', tokens: 1, speedup: 9.9 }),
      recorded({ dims: { D: 512, H: 1024, E: 32, K: 2 }, speedup: 9.9 }),
      recorded({ routing: 'worst', speedup: 9.9 }),
      row({ executor: 'eager', speedup: 9.9 }),
    ],
    { conditions: { ...report([]).conditions, executor: 'recorded' } },
  ),
)
const { document } = parseHTML(svg)
const texts = [...document.querySelectorAll('text')].map(({ textContent }) => textContent)

test('a bar a measured row of the sweep over T with its number, the two lines and the conditions, and no background', () => {
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/)
  expect(document.querySelectorAll('rect')).toHaveLength(3)
  expect(texts).toEqual(
    expect.arrayContaining([
      '3.1',
      '7.4',
      '0.3',
      'ideal 8x',
      'dense 1x',
      'T = 1024',
      'D = 512, H = 1024, float32, recorded as one graph; lines at the bars: 95 % intervals',
      '━ allowed',
      'Some Processor, 2 threads, 2026-01-02; green: all that its arithmetic and memory allow',
    ]),
  )
  expect(texts).not.toContain('9.9')
  expect(svg).toContain('background:none')
})

test('a number of tokens that was not measured says so', () => {
  expect(texts.filter((text) => text === 'not measured')).toHaveLength(1)
})

test('intervals where there are some; a number too short for its bar stands above', () => {
  // One rule across for dense and ideal, one upright for intervals: two of the three bars have one.
  const upright = [...document.querySelectorAll('line')].filter(
    (line) => line.getAttribute('x1') === line.getAttribute('x2'),
  )
  expect(upright).toHaveLength(2)
  const fillOf = (number: string) =>
    [...document.querySelectorAll('text')]
      .find(({ textContent }) => textContent === number)
      ?.closest('[fill]')
      ?.getAttribute('fill')
  expect(fillOf('7.4')).toBe('white')
  expect(fillOf('0.3')).toBe('currentColor')
})
