import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { describe, expect, test } from 'vitest'
import { type BenchHooks, runBench } from '../../bench/index.ts'
import { layerCase, randomLayer } from '../../bench/layer-cases.ts'
import { measureCase } from '../../bench/measure.ts'
import { benchText, decodeCase, prefillCase } from '../../bench/model-cases.ts'
import type { BenchOptions, Row } from '../../bench/types.ts'
import { InputError } from '../../src/errors.ts'
import { startRuntime } from '../../src/runtime/index.ts'
import { FIXTURES } from '../helpers/golden.ts'
import { randomModel } from '../helpers/random.ts'

const LIMITS = { budgetMs: 100, minSamples: 3, maxSamples: 5 }
const OPTIONS: BenchOptions = {
  device: 'cpu',
  model: join(FIXTURES, 'mixtral'),
  tokens: [1, 4],
  layer: { D: 16, H: 8, E: 4, K: 2 },
  quick: true,
  python: null,
}

function hooks(signal = new AbortController().signal): BenchHooks & { steps: string[] } {
  const steps: string[] = []
  return { signal, steps, limits: LIMITS, onProgress: (_, what) => steps.push(what) }
}

function named(rows: Row[]): string[] {
  return rows.map(({ kind, tokens, dispatch }) => `${kind} ${tokens} ${dispatch}`)
}

describe.each(['cpu', 'wasm'])('a small bench on %s', (device) => {
  test('measures model and layer by every dispatch, counts as the formula says, and leaves nothing behind', async () => {
    await startRuntime({ device })
    const before = tf.memory().numTensors
    const { signal, steps, ...rest } = hooks()
    const report = await runBench({ ...OPTIONS, device }, { signal, ...rest })
    expect(tf.memory().numTensors).toBe(before)

    expect(report.interrupted).toBe(false)
    expect(report.conditions.runtime.device).toBe(device)
    expect(report.conclusion).toMatch(
      /^On one layer sparse dispatch .*; the whole model against dense is .*\.$/,
    )
    expect(steps).toEqual(
      expect.arrayContaining(['model, prefill', 'model, decode', 'layer, T=1', 'layer, T=4']),
    )
    const layer = [1, 4].flatMap((T) => ['dense', 'sparse', 'gather'].map((name) => `layer ${T} ${name}`))
    expect(named(report.rows)).toEqual(expect.arrayContaining(layer))
    expect(named(report.rows)).toEqual(
      expect.arrayContaining(['decode 1 dense', 'decode 1 sparse', 'decode 1 gather']),
    )
    for (const row of report.rows) {
      expect(row.flopsCounted).toBe(row.flops)
      expect(row.n).toBeGreaterThanOrEqual(3)
      expect(row.samplesMs).toHaveLength(row.n)
      expect(row.p10Ms).toBeLessThanOrEqual(row.p90Ms!)
      expect(row.speedup).toBeGreaterThan(0)
    }
    const speedups = report.rows.filter(({ dispatch }) => dispatch === 'dense').map(({ speedup }) => speedup)
    expect(new Set(speedups)).toEqual(new Set([1]))
  })
})

test('an interrupt before the first case leaves a report without rows, marked', async () => {
  const controller = new AbortController()
  controller.abort()
  const report = await runBench(OPTIONS, hooks(controller.signal))
  expect(report).toMatchObject({ interrupted: true, rows: [], peers: null })
  expect(report.conclusion).toContain('nothing to conclude')
})

test('an interrupt in the middle keeps what was measured', async () => {
  const controller = new AbortController()
  const { limits } = hooks()
  const report = await runBench(OPTIONS, {
    signal: controller.signal,
    limits,
    onProgress: (_, what) => {
      if (what === 'layer, T=1') controller.abort()
    },
  })
  expect(report.interrupted).toBe(true)
  expect(new Set(report.rows.filter(({ n }) => n > 0).map(({ kind }) => kind))).toEqual(
    new Set(['prefill', 'decode']),
  )
})

test('a model without experts, or a layer larger than the memory, is one sentence', async () => {
  const llama = runBench({ ...OPTIONS, model: join(FIXTURES, 'llama') }, hooks())
  await expect(llama).rejects.toThrow(InputError)
  await expect(llama).rejects.toThrow('no layer with experts')
  const huge = runBench({ ...OPTIONS, layer: { D: 1e5, H: 1e5, E: 1e4, K: 1 } }, hooks())
  await expect(huge).rejects.toThrow(
    /--experts 10000 --dim 100000 --hidden 100000: the layer's weights take .* GB/,
  )
})

test('a variant that would take far too long is left out with the reason, the others stay', async () => {
  await startRuntime({ device: 'cpu' })
  const layer = randomLayer({ D: 16, H: 8, E: 4, K: 1 }, 1)
  const work = layerCase(layer, 64, 1)
  // At a pretended 1e-6 GFLOP/s dense would take 197 s a run, and sparse 51 s.
  const rows = await measureCase(
    work,
    { ...LIMITS, budgetMs: 100_000, maxSamples: 3 },
    1e-6,
    new AbortController().signal,
  )
  const [dense, sparse] = rows
  expect(dense).toMatchObject({ n: 0, medianMs: null, flopsCounted: null, speedup: null })
  expect(dense.skipped).toMatch(
    /^about \S+ s a run at this machine's .* GFLOP\/s, too long to repeat 3 times$/,
  )
  expect(sparse.skipped).toBeNull()
  expect(sparse.n).toBe(3)
  expect(sparse.speedup).toBeNull()
  work.dispose()
  layer.dispose()
})

test('weights, routing and FLOPs are the same at every start', async () => {
  await startRuntime({ device: 'js' })
  const spreads = [1, 2].map(() => {
    const layer = randomLayer({ D: 16, H: 8, E: 8, K: 2 }, 3)
    const work = layerCase(layer, 32, 4)
    work.dispose()
    layer.dispose()
    return work.spread
  })
  expect(spreads[0]).toEqual(spreads[1])
  expect(spreads[0].meanTokens).toBe(8)
  expect(spreads[0].maxTokens).toBeGreaterThan(spreads[0].minTokens)
})

test('a model of short context gets a prompt that fits, and decodes within it', async () => {
  await startRuntime({ device: 'js' })
  const model = randomModel({ slidingWindow: 4 })
  const config = { ...model.config, maxPositionEmbeddings: 10 }
  const text = benchText(config, null, 1)
  expect([text.prompt.length, text.continuation.length]).toEqual([5, 5])
  expect(prefillCase(model, text)).toMatchObject({ tokens: 5, context: 5 })
  const decode = decodeCase(model, text)
  expect(decode).toMatchObject({ tokens: 1, context: 4, callsPerRun: 5 })
  decode.dispose()
  model.dispose()
})
