import { expect, test } from 'vitest'
import { speedupPicture } from '../../bench/picture.ts'
import type { Row } from '../../bench/types.ts'
import { report, row } from './rows.ts'

const recorded = (values: Partial<Row>) => row({ executor: 'recorded', ...values })

test('the picture has a bar a measured row of the sweep over T, the ideal line and its conditions, and no background', () => {
  const svg = speedupPicture(
    report(
      [
        recorded({ dispatch: 'dense', speedup: 1 }),
        recorded({ tokens: 1, speedup: 3.14 }),
        recorded({ tokens: 1, dispatch: 'gather', speedup: 7.4 }),
        recorded({ tokens: 1024, speedup: 0.7 }),
        recorded({ tokens: 256, speedup: null }),
        recorded({ kind: 'decode', tokens: 1, speedup: 9.9 }),
        recorded({ dims: { D: 512, H: 1024, E: 32, K: 2 }, speedup: 9.9 }),
        recorded({ routing: 'worst', speedup: 9.9 }),
        row({ executor: 'eager', speedup: 9.9 }),
      ],
      { conditions: { ...report([]).conditions, executor: 'recorded' } },
    ),
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
    'recorded, float32 on Some Processor, 2 threads, 2026-01-02',
  ]) {
    expect(svg).toContain(text)
  }
  expect(svg).not.toContain('9.9')
  expect(svg).toContain('background:none')
})
