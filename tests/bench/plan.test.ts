import { describe, expect, test } from 'vitest'
import { executorsFor, makePlan } from '../../bench/plan.ts'
import { PRESET_PLANS } from '../../bench/presets.ts'
import { runTasks, type Task, type TaskTime } from '../../bench/schedule.ts'
import { PRESETS, type Preset } from '../../bench/schema.ts'
import { WIDTH_NAMES } from '../../src/cost/widths.ts'
import { config } from './rows.ts'

const BASE = { D: 512, H: 1024, E: 16, K: 2 }
const FLOAT = { dtype: 'float32' } as const
const roomy = { ...config(), maxPositionEmbeddings: 1024 }

describe('a plan', () => {
  test('has the time that its preset promises', () => {
    const { quick, default: usual, full } = PRESET_PLANS
    expect([quick.seconds, usual.seconds, full.seconds]).toEqual([30, 180, null])
  })

  test('by default varies one size at a time around the base, smallest first', () => {
    const { layers, sweeps, sideTokens } = makePlan(
      PRESET_PLANS.default,
      { dims: BASE, tokens: [1, 16, 256, 1024] },
      roomy,
    )
    expect(sideTokens).toBe(256)
    const sizes = (axis: 'E' | 'K' | 'D' | 'H') =>
      sweeps
        .find((sweep) => sweep.axis === axis)
        ?.groups.map((group) => new RegExp(`${axis}(\\d+)`).exec(group)?.[1])
        .map(Number)
    expect(sizes('E')).toEqual([4, 8, 16, 32, 64])
    expect(sizes('K')).toEqual([1, 2, 4, 8])
    expect(sizes('D')).toEqual([256, 512, 1024])
    expect(sizes('H')).toEqual([512, 1024, 2048])
    const changed = layers.map(({ dims }) =>
      Object.keys(BASE).filter((k) => dims[k as 'D'] !== BASE[k as 'D']),
    )
    expect(changed.every((names) => names.length <= 1)).toBe(true)
    // 4 T, 4 E, 3 K, 2 D, 2 H, two routings and one from cache; the base is part of every sweep and measured once.
    expect(layers).toHaveLength(4 + 4 + 3 + 2 + 2 + 2 + 1)
    expect(layers.filter(({ fromCache }) => fromCache)).toEqual([
      { dims: BASE, T: 1, routing: 'real', twins: false, inGrid: false, fromCache: true },
    ])
  })

  test("of sizes that were asked for tries these, not the preset's, the others as they are", () => {
    const asked = { dims: BASE, tokens: [1, 256], sizes: { E: [16, 100, 12], K: [2, 3] } }
    const { sweeps, layers } = makePlan(PRESET_PLANS.quick, asked, roomy)
    const groupsOf = (axis: string) => sweeps.find((sweep) => sweep.axis === axis)?.groups
    expect(groupsOf('E')).toEqual([12, 16, 100].map((E) => `layer/D512-H1024-E${E}-K2/T256/real`))
    expect(groupsOf('K')).toEqual([2, 3].map((K) => `layer/D512-H1024-E16-K${K}/T256/real`))
    expect(groupsOf('D')).toBeUndefined()
    expect(layers).toHaveLength(2 + 2 + 1 + 2 + 1) // T, E, K, routings, from cache
  })

  test.each(['layer', 'prefill', 'decode'] as const)('of one kind has no other: %s', (only) => {
    const { layers, models, sweeps } = makePlan(
      PRESET_PLANS.default,
      { dims: BASE, tokens: [1], only },
      roomy,
    )
    expect(new Set(sweeps.map(({ kind }) => kind))).toEqual(new Set([only]))
    expect(layers.length > 0).toBe(only === 'layer')
    expect(new Set(models.map(({ kind }) => kind))).toEqual(new Set(only === 'layer' ? [] : [only]))
  })

  test('has the widths of its preset, all where they alone are asked for, or those asked for', () => {
    const widthsOf = (preset: Preset, asked: Partial<Parameters<typeof makePlan>[1]>) =>
      makePlan(PRESET_PLANS[preset], { dims: BASE, tokens: [1], ...asked }, roomy).widths
    expect([widthsOf('default', {}), widthsOf('quick', {})]).toEqual([WIDTH_NAMES, []])
    expect(widthsOf('quick', { only: 'width' })).toEqual(WIDTH_NAMES)
    expect(widthsOf('default', { only: 'decode' })).toEqual([])
    expect(widthsOf('quick', { widths: ['int4', 'float32'] })).toEqual(['float32', 'int4'])
    expect(widthsOf('default', { widths: [] })).toEqual([])
    const { layers, models, sweeps } = makePlan(
      PRESET_PLANS.default,
      { dims: BASE, tokens: [1], only: 'width' },
      roomy,
    )
    expect([layers, models, sweeps]).toEqual([[], [], []])
  })

  test('leaves out layers that cannot be: K above E', () => {
    const { layers } = makePlan(PRESET_PLANS.default, { dims: { ...BASE, E: 4, K: 4 }, tokens: [1] }, roomy)
    expect(layers.every(({ dims }) => dims.K <= dims.E)).toBe(true)
    expect(layers.some(({ dims }) => dims.E === 2)).toBe(false)
  })

  test('of the full preset has every combination, and says which are its grid', () => {
    const { layers, sweeps } = makePlan(
      PRESET_PLANS.full,
      { dims: BASE, tokens: PRESET_PLANS.full.tokens },
      roomy,
    )
    const grid = sweeps.find(({ axis }) => axis === 'grid')
    expect(grid?.groups).toHaveLength(4 * 9 * (2 + 3 + 3)) // T, D x H, and K of 1, 2, 8 where E = 4, 16, 64
    expect(new Set(grid?.groups).size).toBe(grid?.groups.length)
    expect(layers.filter(({ inGrid }) => inGrid).length).toBeGreaterThan(200)
  })

  test('of a model that has few positions uses what fits', () => {
    const { models, baseContext, steps } = makePlan(
      PRESET_PLANS.default,
      { dims: BASE, tokens: [1] },
      {
        ...roomy,
        maxPositionEmbeddings: 64,
      },
    )
    expect([baseContext, steps]).toEqual([47, 16])
    expect(new Set(models.map(({ context }) => context))).toEqual(new Set([32, 47]))
    expect(
      makePlan(PRESET_PLANS.default, { dims: BASE, tokens: [1] }, { ...roomy, maxPositionEmbeddings: 2 }),
    ).toMatchObject({
      baseContext: 1,
      steps: 1,
    })
  })

  test.each(PRESETS)('%s has the base layer in it', (preset) => {
    const { layer, tokens, sideTokens } = PRESET_PLANS[preset]
    const { layers } = makePlan(PRESET_PLANS[preset], { dims: layer, tokens }, roomy)
    expect(
      layers
        .filter(({ dims, routing, fromCache }) => dims === layer && routing === 'real' && !fromCache)
        .map(({ T }) => T),
    ).toEqual(tokens)
    expect(tokens).toContain(sideTokens)
  })

  test('of the smoke preset is the layer of Mixtral at three T and decode', () => {
    const preset = PRESET_PLANS['gpu-smoke']
    const { layers, models } = makePlan(preset, { dims: preset.layer, tokens: preset.tokens }, roomy)
    expect(layers.map(({ dims, T }) => [dims.D, dims.H, dims.E, dims.K, T])).toEqual(
      [1, 64, 4096].map((T) => [4096, 14336, 8, 2, T]),
    )
    expect(models).toEqual([{ kind: 'decode', batch: 1, context: 128 }])
    expect(preset.seconds).toBeLessThanOrEqual(180)
  })

  test('half precision is for recorded graphs alone', () => {
    const both = { bothExecutors: true }
    expect(executorsFor('tensorflow', { dtype: 'bfloat16' }, both)).toEqual(['recorded'])
    for (const [backend, executor] of [
      ['tensorflow', 'eager'],
      ['wasm', undefined],
    ] as const)
      expect(() => executorsFor(backend, { dtype: 'float16', executor }, both)).toThrow(
        '--dtype float16: only recorded graphs on TensorFlow multiply in half precision',
      )
  })

  test('measures by both executors where there are two, the usual one first, or by the one asked for', () => {
    const both = { bothExecutors: true }
    expect(executorsFor('tensorflow', FLOAT, both)).toEqual(['recorded', 'eager'])
    expect(executorsFor('tensorflow', FLOAT, { bothExecutors: false })).toEqual(['recorded'])
    expect(executorsFor('tensorflow', { ...FLOAT, executor: 'eager' }, both)).toEqual(['eager'])
    expect(executorsFor('wasm', FLOAT, both)).toEqual(['eager'])
  })
})

describe('a schedule', () => {
  /** Tasks that take a share of what they get, on a clock of the test's own. */
  function fakeTasks(takes: ((time: TaskTime) => number)[]) {
    let time = 0
    const got: TaskTime[] = []
    const left: number[] = []
    const tasks = takes.map(
      (take, i): Task => ({
        what: `task ${i}`,
        seconds: 1,
        run: async (given) => {
          got.push(given)
          time += take(given)
        },
        leaveOut: () => void left.push(i),
      }),
    )
    const run = (end: number | null, signal = new AbortController().signal) =>
      runTasks(tasks, { end, signal, onProgress: () => {}, now: () => time })
    return { run, got, left, spent: () => time }
  }

  test('shares the time out, and spreads what a task leaves over', async () => {
    const { run, got, spent } = fakeTasks([({ budgetMs }) => budgetMs, () => 0, ({ budgetMs }) => budgetMs])
    await run(3000)
    expect(got.map(({ budgetMs }) => budgetMs)).toEqual([1000, 1000, 2000])
    expect(got.map(({ leftMs }) => leftMs)).toEqual([3000, 2000, 2000])
    expect(spent()).toBe(3000)
  })

  test('ends in time although a task takes more than its share; the others get less', async () => {
    const { run, got, spent } = fakeTasks([
      () => 2000,
      ({ budgetMs }) => budgetMs,
      ({ budgetMs }) => budgetMs,
    ])
    await run(3000)
    expect(got.map(({ budgetMs }) => budgetMs)).toEqual([1000, 500, 500])
    expect(spent()).toBe(3000)
  })

  test('leaves out what has no time left', async () => {
    const { run, got, left } = fakeTasks([() => 4000, () => 0, () => 0])
    await run(3000)
    expect(got).toHaveLength(1)
    expect(left).toEqual([1, 2])
  })

  test('even if every task takes all that its telling part may, the time holds', async () => {
    const { run, spent } = fakeTasks(new Array(30).fill(({ mostMs }: TaskTime) => mostMs))
    await run(30_000)
    expect(spent()).toBeLessThanOrEqual(30_000)
  })

  test('gives no task more than three times what it would like, and all of that where nothing ends it', async () => {
    const timed = fakeTasks([() => 0])
    await timed.run(1e9)
    const endless = fakeTasks([() => 0])
    await endless.run(null)
    expect([timed.got[0].budgetMs, endless.got[0].budgetMs]).toEqual([3000, 3000])
  })

  test('an abort ends it', async () => {
    const controller = new AbortController()
    const { run, got, left } = fakeTasks([() => 0, () => 0])
    controller.abort()
    await run(3000, controller.signal)
    expect([got, left]).toEqual([[], []])
  })
})
