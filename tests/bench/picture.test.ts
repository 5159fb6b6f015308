import { expect, test } from 'vitest'
import { speedupPicture } from '../../bench/picture.ts'
import { report, row } from './rows.ts'

test('the picture has a bar a measured row of the layer, the ideal line and its conditions, and no background', () => {
  const svg = speedupPicture(
    report([
      row({ dispatch: 'dense', speedup: 1 }),
      row({ tokens: 1, speedup: 3.14 }),
      row({ tokens: 1, dispatch: 'gather', speedup: 7.4 }),
      row({ tokens: 1024, speedup: 0.7 }),
      row({ tokens: 256, speedup: null }),
      row({ kind: 'decode', tokens: 1, speedup: 9.9 }),
    ]),
  )
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/)
  expect(svg.match(/<rect /g)).toHaveLength(3)
  for (const text of [
    '3.1',
    '7.4',
    '0.7',
    'ideal 8x',
    'dense 1x',
    'T = 1024',
    'Some Processor, 2 threads, 2026-01-02',
  ]) {
    expect(svg).toContain(text)
  }
  expect(svg).not.toContain('9.9')
  expect(svg).toContain('background:none')
})
