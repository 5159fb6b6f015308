import { describe, expect, test } from 'vitest'
import { countParameters, flopsPerToken, totalFlops } from '../../src/cost/index.ts'
import { FAMILIES } from '../../src/families/index.ts'
import { PRESET_NAMES, PRESETS, type PresetName } from '../../src/train/presets.ts'

const parameters = (name: PresetName) => countParameters(PRESETS[name].config)
const apart = (a: number, b: number) => Math.abs(a / b - 1)

test('moe has 3 to 4 million parameters, and a third of them work for a token', () => {
  const { total, active } = parameters('moe')
  expect(total).toBeGreaterThan(3e6)
  expect(total).toBeLessThan(4e6)
  expect(active / total).toBeLessThan(0.36)
})

test('dense-active is moe in active parameters and FLOPs a token, within 2 %', () => {
  expect(apart(parameters('dense-active').total, parameters('moe').active)).toBeLessThan(0.02)
  const [dense, moe] = (['dense-active', 'moe'] as const).map((name) =>
    totalFlops(flopsPerToken(PRESETS[name].config, 128, 'sparse')),
  )
  expect(apart(dense, moe)).toBeLessThan(0.02)
})

test('dense-total is moe in all its parameters, within 2 %', () => {
  expect(apart(parameters('dense-total').total, parameters('moe').total)).toBeLessThan(0.02)
})

describe.each(PRESET_NAMES)('%s', (name) => {
  const { config } = PRESETS[name]

  test('is at most 8 MB in bfloat16', () => {
    expect(2 * countParameters(config).total).toBeLessThan(8e6)
  })

  test('its config.json reads back to the same config', () => {
    const family = FAMILIES.find(({ modelType }) => modelType === config.family)!
    expect(family.parseConfig(family.formatConfig(config), 'config.json')).toEqual(config)
  })
})

test('deepseek does about as much for a token as moe', () => {
  const [deepseek, moe] = (['deepseek', 'moe'] as const).map((name) =>
    totalFlops(flopsPerToken(PRESETS[name].config, 128, 'sparse')),
  )
  expect(apart(deepseek, moe)).toBeLessThan(0.1)
})
