import { describe, expect, test } from 'vitest'
import { InputError } from '../../src/errors.ts'
import { type PresetName, presetOf, type SizeName } from '../../src/train/presets.ts'
import { checkTrainingSize, stepBytes } from '../../src/train/size.ts'

// Growth of the peak resident size by the first step on two cores, 2026-11-28; docs/training.md has the table.
const MEASURED: [PresetName, SizeName, rows: number, length: number, gigabytes: number][] = [
  ['moe', 'full', 16, 256, 1.583],
  ['moe', 'full', 32, 256, 3.099],
  ['moe', 'full', 64, 64, 1.37],
  ['moe', 'full', 8, 1024, 5.181],
  ['dense-active', 'full', 16, 256, 1.404],
  ['dense-total', 'full', 16, 256, 2.726],
  ['deepseek', 'full', 16, 256, 2.356],
  ['moe', 'small', 16, 256, 0.81],
  ['dense-active', 'small', 16, 256, 0.628],
  ['deepseek', 'small', 16, 256, 0.874],
]

test.each(MEASURED)(
  '%s, %s, %i x %i: within 30 %% of what was measured',
  (preset, size, rows, length, gb) => {
    const estimated = stepBytes(presetOf({ preset, size }).config, { rows, length }) / 1e9
    expect(estimated / gb).toBeGreaterThan(0.7)
    expect(estimated / gb).toBeLessThan(1.2)
  },
)

describe('checkTrainingSize', () => {
  const { config } = presetOf({ preset: 'moe', size: 'full' })
  const settings = { rows: 16, length: 256 }
  const tenGigabytes = () => 10e9

  test('takes what fits, and all where nobody knows', () => {
    checkTrainingSize(config, settings, tenGigabytes)
    checkTrainingSize(config, { ...settings, rows: 1e9 }, () => null)
  })

  test('refuses more rows than memory holds, with both numbers', () => {
    expect(() => checkTrainingSize(config, { ...settings, rows: 999_999_999 }, tenGigabytes)).toThrow(
      /^--batch 999999999 --length 256: a step needs about [\d,]+ GB of memory, and 10\.0 GB may be used$/,
    )
  })

  test('refuses more tokens than the model has positions, whatever the memory', () => {
    expect(() => checkTrainingSize(config, { ...settings, length: 99_999 }, () => null)).toThrow(
      new InputError('--length 99999: expected at most 1024, the positions of the model'),
    )
    checkTrainingSize(config, { ...settings, rows: 1, length: 1024 }, tenGigabytes)
  })

  test('counts every job', () => {
    checkTrainingSize(config, settings, tenGigabytes, 4)
    expect(() => checkTrainingSize(config, settings, tenGigabytes, 500)).toThrow(
      /--batch 16 --length 256: --jobs 500, each with a step of 1\.\d+ GB, needs about /,
    )
  })
})
