import { describe, expect, test } from 'vitest'
import { countParameters, flopsPerToken, totalFlops } from '../../src/cost/index.ts'
import { familyNamed, formatted } from '../../src/families/index.ts'
import { attentionFacts } from '../../src/model/attention/facts.ts'
import { PRESET_NAMES, type PresetName, presetOf, SIZE_NAMES } from '../../src/train/presets.ts'

const apart = (a: number, b: number) => Math.abs(a / b - 1)

describe.each(SIZE_NAMES)('size %s', (size) => {
  const configOf = (preset: PresetName) => presetOf({ preset, size }).config
  const parameters = (preset: PresetName) => countParameters(configOf(preset))
  const flops = (preset: PresetName, context: number) =>
    totalFlops(flopsPerToken(configOf(preset), context, 'sparse'))

  // Embeddings are the same in all and a large part of the small ones: without them the twins differ most.
  test('dense-active is moe in active parameters, with embeddings and without, within 2 %', () => {
    const [dense, moe] = [parameters('dense-active'), parameters('moe')]
    expect(apart(dense.active, moe.active)).toBeLessThan(0.02)
    expect(apart(dense.activeWithoutEmbeddings, moe.activeWithoutEmbeddings)).toBeLessThan(0.02)
  })

  test('dense-total is moe in all its parameters, with embeddings and without, within 2 %', () => {
    const [dense, moe] = [parameters('dense-total'), parameters('moe')]
    expect(apart(dense.total, moe.total)).toBeLessThan(0.02)
    expect(apart(dense.totalWithoutEmbeddings, moe.totalWithoutEmbeddings)).toBeLessThan(0.02)
  })

  test.each([1, 128, 288])('dense-active does what moe does for a token behind %i, within 2 %', (context) => {
    expect(apart(flops('dense-active', context), flops('moe', context))).toBeLessThan(0.02)
  })

  // In FLOPs not as near: heads meet keys of other widths.
  test('deepseek is moe in active parameters within 3 %, in FLOPs within 10, with fewer parameters in all', () => {
    expect(apart(flops('deepseek', 128), flops('moe', 128))).toBeLessThan(0.1)
    const [deepseek, moe] = [parameters('deepseek'), parameters('moe')]
    expect(apart(deepseek.activeWithoutEmbeddings, moe.activeWithoutEmbeddings)).toBeLessThan(0.03)
    expect(deepseek.total).toBeLessThan(moe.total)
  })

  test(`a token of deepseek leaves ${size === 'full' ? '3/8' : 'half'} of the numbers of moe in a cache`, () => {
    const cached = (preset: PresetName) =>
      configOf(preset).layers.map(({ attention }) => attentionFacts(attention).cached(attention))
    expect(cached('deepseek')).toEqual(
      cached('moe').map((numbers) => (size === 'full' ? 3 / 8 : 1 / 2) * numbers),
    )
  })

  test('experts of every preset can be held in groups of 32', () => {
    for (const preset of PRESET_NAMES)
      for (const { feedForward } of configOf(preset).layers) expect(feedForward.intermediateSize % 32).toBe(0)
  })

  test('less than half of moe works for a token', () => {
    const { activeWithoutEmbeddings, totalWithoutEmbeddings } = parameters('moe')
    expect(activeWithoutEmbeddings / totalWithoutEmbeddings).toBeLessThan(0.4)
  })

  test.each(PRESET_NAMES)('config.json of %s reads back to the same config', (preset) => {
    const config = configOf(preset)
    expect(familyNamed(config.family).parseConfig(formatted(config), 'config.json')).toEqual(config)
  })
})

test('moe has 3 to 4 million parameters, and small a tenth of them at most', () => {
  const [full, small] = SIZE_NAMES.map((size) => countParameters(presetOf({ preset: 'moe', size }).config))
  expect(full.total).toBeGreaterThan(3e6)
  expect(full.total).toBeLessThan(4e6)
  expect(small.total).toBeLessThan(full.total / 10)
})

test.each(PRESET_NAMES)('%s is at most 8 MB in bfloat16', (preset) => {
  const { total } = countParameters(presetOf({ preset, size: 'full' }).config)
  expect(2 * total).toBeLessThan(8e6)
})
