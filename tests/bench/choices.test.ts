import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { layerBytes, variantBytes } from '../../bench/cases/memory.ts'
import { checkGpu } from '../../bench/check-gpu.ts'
import { governor, usesTf32 } from '../../bench/conditions.ts'
import { layerLike } from '../../bench/like.ts'
import { PRESET_PLANS } from '../../bench/presets.ts'
import { judge } from '../../bench/report/assertion.ts'
import { subjectOf } from '../../bench/report/select.ts'
import { memoryLimit, memoryProblem } from '../../src/device/memory.ts'
import { FIXTURES } from '../helpers/golden.ts'
import { report, row } from './rows.ts'

const { runtime } = report([]).conditions
const card = { ...runtime, device: 'cuda' as const, memoryBytes: 80e9, computeCapability: '9.0' }

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-choices-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('a layer like that of a model', () => {
  test('has the sizes of a published one; scaled, D and H in multiples of 8', () => {
    expect(layerLike('mixtral-8x7b', 1)).toEqual({
      dims: { D: 4096, H: 14336, E: 8, K: 2 },
      source: 'a layer of mistralai/Mixtral-8x7B-v0.1',
    })
    const { dims, source } = layerLike('mixtral-8x7b', 1 / 60)
    expect(dims).toEqual({ D: 72, H: 240, E: 8, K: 2 }) // 68.3 and 238.9
    expect(source).toContain('(D=4096 H=14336) with D and H times 1/60, to multiples of 8')
    expect(layerLike('mixtral-8x7b', 1e-6).dims).toEqual({ D: 8, H: 8, E: 8, K: 2 })
  })

  test('comes from a directory or a config.json, too', () => {
    const dims = { D: 32, H: 40, E: 8, K: 2 }
    expect(layerLike(join(FIXTURES, 'mixtral'), 1).dims).toEqual(dims)
    expect(layerLike(join(FIXTURES, 'mixtral', 'config.json'), 1).dims).toEqual(dims)
  })

  test('is one sentence when there is no such model, no mixture, or no JSON', () => {
    expect(() => layerLike('mixtrel-8x7', 1)).toThrow(/^--like mixtrel-8x7: no such .* near: .*Mixtral-8x7B/)
    expect(() => layerLike(join(FIXTURES, 'llama'), 1)).toThrow(/llama: has no layer with experts$/)
    const file = join(folder, 'config.json')
    writeFileSync(file, '{')
    expect(() => layerLike(file, 1)).toThrow(/^--like .*config\.json: cannot be read as a config\.json \(/)
  })
})

describe('an assertion', () => {
  const subject = subjectOf(report([]))
  const at = (tokens: number, speedup: number | null, low: number | null, high: number | null) =>
    row({ tokens, speedup, speedupLow: low, speedupHigh: high })

  test('is about the largest T, and holds when the lower end reaches the factor', () => {
    const rows = [at(1024, 5, 4.5, 5.5), at(16, 1, 0.9, 1.1)]
    expect(judge(rows, 4.5, subject)).toEqual({
      factor: 4.5,
      passed: true,
      sentence:
        'At T=1024 (eager) sparse is 5.00 times as fast as dense (95 % interval 4.50 to 5.50); its lower end reaches the 4.5 asked for.',
    })
    expect(judge(rows, 4.6, subject)).toMatchObject({
      passed: false,
      sentence: expect.stringMatching(/does not reach the 4\.6 asked for\.$/),
    })
  })

  test('does not hold on what was not measured', () => {
    expect(judge([], 2, subject).sentence).toBe(
      'No layer was measured, so nothing shows that sparse is 2 times as fast as dense.',
    )
    expect(judge([row({ speedup: null, skipped: 'too long' })], 2, subject).sentence).toBe(
      'At T=16 (eager) sparse is not shown to be 2 times as fast as dense: too long.',
    )
    expect(judge([at(16, 3, null, null)], 2, subject)).toMatchObject({
      passed: false,
      sentence: expect.stringContaining('too few samples'),
    })
  })

  test('looks at the sizes asked for only', () => {
    const other = row({
      tokens: 4096,
      speedup: 9,
      speedupLow: 9,
      speedupHigh: 9,
      dims: { D: 8, H: 8, E: 16, K: 2 },
    })
    const uniform = row({ tokens: 2048, routing: 'uniform', speedupLow: 9, speedupHigh: 9 })
    expect(judge([other, uniform, at(16, 2, 1.9, 2.1)], 1.5, subject).sentence).toContain('At T=16')
  })
})

describe('a card', () => {
  test('is what the gpu preset needs, unless another device is asked for', () => {
    const candidates = [{ device: 'cuda' as const, taken: false, reason: 'no NVIDIA GPU was found' }]
    expect(() => checkGpu({ ...runtime, candidates }, undefined, 'gpu')).toThrow(
      '--preset gpu needs a CUDA device: no NVIDIA GPU was found; with --device cpu it measures what fits on the processor',
    )
    expect(() => checkGpu({ ...runtime, candidates }, 'cpu', 'gpu')).not.toThrow()
    expect(() => checkGpu(card, undefined, 'gpu')).not.toThrow()
  })

  test('rounds to TensorFloat-32 from compute capability 8, unless forbidden', () => {
    expect(usesTf32(card, {})).toBe(true)
    expect(usesTf32({ ...card, computeCapability: '7.5' }, {})).toBe(false)
    expect(usesTf32({ ...card, computeCapability: null }, {})).toBeNull()
    expect(usesTf32(card, { NVIDIA_TF32_OVERRIDE: '0' })).toBe(false)
    expect(usesTf32(runtime, {})).toBe(false)
  })

  test('has its own memory for a limit, a processor what is free; what does not fit is said', () => {
    const empty = memoryLimit(card, undefined, () => 0)
    expect(empty()).toBe(64e9)
    expect(memoryLimit(card, undefined, () => 4e9)()).toBe(60e9)
    expect(memoryLimit({ ...card, memoryBytes: null })()).toBeNull()
    expect(memoryLimit(runtime, () => 10e9)()).toBe(8e9)
    expect(memoryProblem(64e9, empty)).toBeNull()
    expect(memoryProblem(65e9, empty)).toBe('needs about 65.0 GB of memory, and 64.0 GB may be used')
    expect(memoryProblem(1e18, () => null)).toBeNull()
  })

  test('of 80 GB holds the base layer of the gpu preset at its largest T, by sparse and dense', () => {
    const { layer, tokens } = PRESET_PLANS.gpu
    const T = Math.max(...tokens)
    expect(T).toBe(65_536)
    expect(
      memoryProblem(
        layerBytes(layer),
        memoryLimit(card, undefined, () => 0),
      ),
    ).toBeNull()
    // The layer counts twice, as a stack and as views into it; input and a result are there too.
    const held = layerBytes(layer) + 2 * 4 * T * layer.D
    for (const dispatch of ['dense', 'sparse'] as const) {
      const limit = memoryLimit(card, undefined, () => held)
      expect(memoryProblem(variantBytes(layer, T, dispatch, 'eager'), limit), dispatch).toBeNull()
    }
  })
})

test('the governor is read where the system shows it, else unknown', () => {
  const file = join(folder, 'governor')
  writeFileSync(file, 'powersave\n')
  expect(governor(file)).toBe('powersave')
  expect(governor(join(folder, 'none'))).toBeNull()
})
