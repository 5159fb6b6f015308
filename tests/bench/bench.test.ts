import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { type BenchHooks, type BenchOptions, runBench } from '../../bench/index.ts'
import { remarks } from '../../bench/report/remarks.ts'
import type { BenchReport, Row } from '../../bench/schema.ts'
import { isTwin } from '../../bench/schema.ts'
import { startRuntime } from '../../src/device/index.ts'
import { InputError } from '../../src/errors.ts'
import { FIXTURES } from '../helpers/golden.ts'

const LIMITS = { budgetMs: 100, minSamples: 5, maxSamples: 5 }
const DIMS = { D: 16, H: 8, E: 4, K: 2 }
const OPTIONS: BenchOptions = {
  device: 'cpu',
  preset: 'quick',
  dtype: 'float32',
  model: join(FIXTURES, 'mixtral'),
  tokens: [1, 4],
  layer: { dims: DIMS, source: 'flags' },
  python: null,
  llamaBench: null,
  assertFactor: null,
}

/** Each kind of case, and few of each. */
const FEW = {
  seconds: null,
  sides: { E: [2], D: [2], H: [], K: [1] },
  batches: [2],
  contexts: [],
  baseContext: 12,
  loads: 1,
}

/** All but widths that the fixture's rows, or a device, cannot be held in. */
function isHeldHere({ held, executor }: Row): boolean {
  return held === null || held === 'float32' || (held === 'bfloat16' && executor === 'recorded')
}

function hooks(signal = new AbortController().signal): BenchHooks {
  return { signal, limits: LIMITS, extent: { seconds: null }, onProgress: () => {} }
}

describe.each(['cpu', 'wasm'])('the default preset, small, on %s', (device) => {
  let report: BenchReport
  let tensorsLeft: number

  beforeAll(async () => {
    await startRuntime({ device })
    const before = tf.memory().numTensors
    report = await runBench(
      { ...OPTIONS, device, preset: 'default', assertFactor: 1e9 },
      { ...hooks(), extent: FEW },
    )
    tensorsLeft = tf.memory().numTensors - before
  }, 600_000)

  test('leaves no tensor behind', () => {
    expect(tensorsLeft).toBe(0)
  })

  test('every row of every kind multiplies exactly what the formula says', () => {
    for (const row of report.rows.filter(isHeldHere)) {
      expect(row.skipped, row.id).toBeNull()
      expect(row.flopsCounted, row.id).toBe(row.flops)
    }
    const kinds = new Set(report.rows.map(({ kind, dispatch }) => `${kind} ${dispatch}`))
    const all = ['dense', 'sparse', 'gather', 'twin-active', 'twin-total']
    expect(kinds).toEqual(
      new Set([
        ...['prefill', 'decode', 'layer'].flatMap((kind) => all.map((name) => `${kind} ${name}`)),
        ...['width dense', 'width sparse'],
      ]),
    )
  })

  test('widths that cannot be held here are named with the reason', () => {
    const missing = report.rows.filter((row) => !isHeldHere(row))
    expect(missing).toHaveLength(2 * (device === 'cpu' ? 2 : 3)) // by dense and by sparse
    for (const { skipped, n } of missing) {
      expect(n).toBe(0)
      expect(skipped).toMatch(
        /^rows of its matrices are no whole number|^wasm holds weights in float32 alone/,
      )
    }
  })

  test('has rows by each executor that the device has, with ids of their own', () => {
    const executors = new Set(report.rows.map(({ executor }) => executor))
    expect(executors).toEqual(new Set(device === 'cpu' ? ['recorded', 'eager'] : ['eager']))
    expect(report.conditions.executor).toBe(device === 'cpu' ? 'recorded' : 'eager')
    expect(new Set(report.rows.map(({ id }) => id)).size).toBe(report.rows.length)
  })

  test('samples, percentiles and ratios of a row fit together; dense is measured against itself', () => {
    for (const row of report.rows.filter(isHeldHere)) {
      expect(row.samplesMs).toHaveLength(row.n)
      expect(row.n).toBe(5)
      expect(row.p10Ms).toBeLessThanOrEqual(row.medianMs!)
      expect(row.medianMs).toBeLessThanOrEqual(row.p90Ms!)
      expect(row.p90Ms).toBeLessThanOrEqual(row.p99Ms!)
      expect(row.tokensPerSecond).toBeCloseTo((1000 * row.tokens) / row.medianMs!, 6)
      const dense = report.rows.find(
        (other) =>
          [other.group, other.executor, other.held].join() === [row.group, row.executor, row.held].join() &&
          other.dispatch === 'dense',
      )!
      expect(row.speedup).toBeCloseTo(dense.medianMs! / row.medianMs!, 9)
      if (row === dense) expect(row.speedupLow).toBeNull()
      else expect(row.speedupLow).toBeLessThanOrEqual(row.speedupHigh!)
    }
  })

  test('sweeps name groups that have rows, one axis changing', () => {
    const layerAxes = report.sweeps.filter(({ kind }) => kind === 'layer').map(({ axis }) => axis)
    expect(layerAxes).toEqual(['T', 'E', 'K', 'D', 'routing'])
    for (const { axis, groups } of report.sweeps) {
      const rows = groups.map((group) => report.rows.find((row) => row.group === group)!)
      const values = rows.map((row) =>
        String(
          { ...row.dims, T: row.tokens, routing: row.routing, batch: row.batch, context: row.context }[
            axis as 'T'
          ],
        ),
      )
      expect(new Set(values).size, axis).toBe(groups.length)
    }
  })

  test('uniform routing is even, the worst goes to K experts', () => {
    const spreads = (routing: string) =>
      report.rows
        .filter((row) => row.routing === routing && !isTwin(row.dispatch))
        .map(({ spread }) => spread!)
    for (const { minTokens, maxTokens, meanTokens } of spreads('uniform')) {
      expect([minTokens, maxTokens, meanTokens]).toEqual([2, 2, 2])
    }
    for (const { expertsTouched, maxTokens } of spreads('worst')) {
      expect([expertsTouched, maxTokens]).toEqual([[DIMS.K], 4])
    }
  })

  test('the parts of a dispatch, limited capacity, tracing and loading are there', () => {
    expect(report.breakdown.map(({ tokens }) => tokens)).toEqual([1, 4])
    for (const part of report.breakdown) {
      expect(part.sumMs).toBeCloseTo(part.routerMs + part.groupMs + part.matmulMs + part.combineMs, 9)
      expect(part.totalMs).toBeGreaterThan(0)
    }
    const worst = report.capacity.filter(({ routing }) => routing === 'worst')
    // T=4, K=2, E=4: factor 1 seats 2 tokens an expert, and 2 experts are asked for 4 each.
    expect(worst.map(({ factor, droppedShare }) => [factor, droppedShare])).toEqual([
      [1, 0.5],
      [1.25, 0.25],
      [1.5, 0.25],
      [2, 0],
      [null, 0],
    ])
    const router = 2 * 4 * DIMS.D * DIMS.E
    const row = 2 * 3 * DIMS.D * DIMS.H
    expect(worst.map(({ flopsCounted }) => flopsCounted)).toEqual(
      [4, 6, 6, 8, 8].map((n) => router + n * row),
    )
    expect(report.tracing?.n).toBe(5)
    expect(report.loading?.medianMs).toBeGreaterThan(0)
    if (process.platform === 'linux') {
      expect(report.loading?.peakBytes).toBeGreaterThan(report.loading!.weightBytes)
    }
  })

  test('concludes in one sentence, and an assertion that cannot hold fails', () => {
    expect(report.conclusion).toMatch(
      /^On one layer sparse dispatch .*; the whole model against dense is .*\.$/,
    )
    expect(report.assertion).toMatchObject({ factor: 1e9, passed: false })
    expect(report.assertion?.sentence).toMatch(/^At T=4 .* does not reach the 1000000000 asked for\.$/)
  })
})

test('quick measures the same rows, only fewer, by the usual executor', async () => {
  const report = await runBench({ ...OPTIONS, device: 'js' }, hooks())
  expect(report.conditions).toMatchObject({
    preset: 'quick',
    dtype: 'float32',
    executor: 'eager',
    tf32: false,
  })
  expect(new Set(report.rows.map(({ dispatch }) => dispatch))).toEqual(new Set(['dense', 'sparse', 'gather']))
  expect(report.rows.every(({ batch }) => batch === 1)).toBe(true)
})

test.each(['layer', 'decode', 'width'] as const)(
  '--only %s measures that alone, and nothing else is called missing',
  async (only) => {
    const report = await runBench({ ...OPTIONS, device: 'js', only }, hooks())
    expect(new Set(report.rows.map(({ kind }) => kind))).toEqual(new Set([only]))
    expect(report.rows.filter(isHeldHere).every(({ n }) => n > 0)).toBe(true)
    const { breakdown, capacity, tracing, loading } = report
    expect([breakdown.length, capacity.length, tracing === null]).toEqual(
      only === 'layer' ? [2, 3, true] : [0, 0, only !== 'decode'],
    )
    expect(loading).toBeNull()
    expect(remarks(report).join()).not.toContain('Not measured')
  },
)

test('an interrupt before the first case leaves a report without rows, marked', async () => {
  const controller = new AbortController()
  controller.abort()
  const report = await runBench(OPTIONS, hooks(controller.signal))
  expect(report).toMatchObject({ interrupted: true, rows: [], peers: [], loading: null, tracing: null })
  expect(report.conclusion).toContain('nothing to conclude')
})

test('an interrupt in the middle keeps what was measured', async () => {
  const controller = new AbortController()
  const report = await runBench(OPTIONS, {
    ...hooks(controller.signal),
    onProgress: (_, what) => {
      if (what.startsWith('layer')) controller.abort()
    },
  })
  expect(report.interrupted).toBe(true)
  const measured = report.rows.filter(({ n }) => n > 0)
  expect(new Set(measured.map(({ kind }) => kind))).toEqual(new Set(['prefill', 'decode']))
})

test('a model without experts, or a layer that was asked for and does not fit, is one sentence', async () => {
  const llama = runBench({ ...OPTIONS, model: join(FIXTURES, 'llama') }, hooks())
  await expect(llama).rejects.toThrow(InputError)
  await expect(llama).rejects.toThrow('no layer with experts')
  const dims = { D: 1e5, H: 1e5, E: 1e4, K: 1 }
  const huge = runBench({ ...OPTIONS, layer: { dims, source: 'flags' } }, hooks())
  await expect(huge).rejects.toThrow(
    /^--experts 10000 --dim 100000 --hidden 100000: the layer needs about .* GB of memory, and .* GB may be used/,
  )
})
