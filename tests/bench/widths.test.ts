import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HeldModel, holdIn, type Place } from '../../bench/cases/held-model.ts'
import { heldOutTexts, lossOf } from '../../bench/cases/held-out.ts'
import { MeasuredModel } from '../../bench/cases/measured-model.ts'
import { benchText } from '../../bench/cases/model-text.ts'
import { TimeLimit, TookTooLong } from '../../bench/cases/time-limit.ts'
import { plannedWidths } from '../../bench/cases/widths.ts'
import { measureCase } from '../../bench/measure.ts'
import type { Row } from '../../bench/schema.ts'
import { heldAs } from '../../src/backend/held.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { quantizeModel } from '../../src/checkpoint/quantize.ts'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { bytesByWidth, WIDTH_NAMES, type Width } from '../../src/cost/widths.ts'
import { startRuntime } from '../../src/device/index.ts'
import { documentLosses, lossReport } from '../../src/eval/loss.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { leaves } from '../../src/model/tree.ts'
import { allTensors } from '../../src/model/weights.ts'
import { modelDirectory } from '../../src/package.ts'
import { product, sum } from '../../src/sums.ts'
import { FIXTURES } from '../helpers/golden.ts'
import { numbersOf } from '../helpers/held.ts'
import { randomModel } from '../helpers/random.ts'

const folder = mkdtempSync(join(tmpdir(), 'bench-widths-'))
afterAll(() => rmSync(folder, { recursive: true }))

const MACHINE = { matmulGflops: 100, memoryGbPerS: 10, matmulSize: 8, vectorBytes: 8 }
const OPTIONS = {
  limits: { budgetMs: 100, minSamples: 3, maxSamples: 3 },
  most: { tellingMs: 1e6, allMs: 1e6 },
  machine: MACHINE,
  memory: () => null,
  seed: 1,
  signal: new AbortController().signal,
}
const endless = () => new TimeLimit(Number.POSITIVE_INFINITY)
const placeOf = (loaded: LoadedModel, values: Partial<Place> = {}): Place => {
  return { loaded, executors: ['recorded'], memory: () => null, ...values }
}

const problemOf = (width: Width, place: Place) => holdIn(width, place, endless(), OPTIONS.signal)

async function heldIn(loaded: LoadedModel, width: Width): Promise<HeldModel> {
  const held = await holdIn(width, placeOf(loaded), endless(), OPTIONS.signal)
  expect(held).toBeInstanceOf(HeldModel)
  return held as HeldModel
}

/** The rows of the case, and why it could not be made. */
async function rowsOf(loaded: LoadedModel, widths: readonly Width[], executors = [loaded.executor]) {
  const model = new MeasuredModel(loaded.config, loaded.weights)
  const [planned] = plannedWidths({
    ...{
      ...OPTIONS,
      widths,
      loaded,
      model,
      executors,
      twins: false,
      dtype: 'float32',
      baseContext: 5,
      steps: 3,
    },
    text: await benchText(loaded.config, loaded.tokenizer, 1),
  })
  const rows: Row[] = []
  const problem = await planned.make(async (work) => {
    rows.push(...(await measureCase(work, OPTIONS)))
    work.dispose()
  }, Number.POSITIVE_INFINITY)
  model.dispose()
  return { rows, problem, planned }
}

describe('on native TensorFlow', () => {
  const source = join(folder, 'source')
  let loaded: LoadedModel
  beforeAll(async () => {
    await startRuntime({ device: 'cpu', threads: 2 })
    const model = randomModel({ D: 64, H: 96, E: 4, K: 2, V: 40 })
    saveCheckpoint(source, model.config, 'F32', numbersOf(model))
    model.dispose()
    loaded = await loadModel(source, { device: 'cpu', dtype: 'float32' })
  })
  afterAll(() => loaded.dispose())

  test.each(WIDTH_NAMES)(
    'a model in %s holds the bytes that the rule counts, and no file is made',
    async (width) => {
      const held = await heldIn(loaded, width)
      const node = activeTensorflow()
      const tensors = leaves<tf.Tensor | Float32Array>(held.eager.weights).flatMap(
        ([path, leaf]) => (leaf instanceof tf.Tensor && !path.includes('stacked') ? leaf : []), // a stack is its experts
      )
      const bytes = tensors.map((tensor) => {
        const as = heldAs(node, tensor)
        return as ? (as.dtype === 'uint8' ? 1 : 2) * product(as.shape) : 4 * tensor.size
      })
      const { norms, router } = countParameters(loaded.config).parts
      const float32 = { float32: 0, bfloat16: 2 * (norms + router), int8: 2 * norms, int4: 2 * norms }[width]
      const rule = bytesByWidth(loaded.config).find((one) => one.width === width)!
      expect(sum(bytes)).toBe(rule.stored + float32)
      held.dispose()
    },
  )

  test('each width has a row by dense and by sparse: counted as by formula, its own bytes, and nothing is left behind', async () => {
    const before = tf.memory().numTensors
    const { rows, problem, planned } = await rowsOf(loaded, WIDTH_NAMES)
    expect(tf.memory().numTensors).toBe(before)
    expect(problem).toBeNull()
    expect(rows.map(({ id }) => id)).toEqual(
      WIDTH_NAMES.flatMap((width) =>
        ['dense', 'sparse'].map((dispatch) => `width/B1/S5/${width}/${dispatch}/recorded`),
      ),
    )
    const rule = bytesByWidth(loaded.config)
    for (const [i, row] of rows.entries()) {
      const { name, stored, read, readByAll } = rule[Math.floor(i / 2)]
      expect(row).toMatchObject({
        ...{ kind: 'width', held: name, heldBytes: stored, skipped: null, n: 3, flopsCounted: row.flops },
        ...{ loss: null, lossTokens: null }, // it has no tokenizer
        weightBytes: Math.round(row.dispatch === 'dense' ? readByAll : read),
      })
      expect(row.shareOfBandwidth).toBeCloseTo((row.weightBytes! * 100) / row.medianMs! / 1e9, 9)
      const dense = rows[i - (i % 2)]
      expect(row.speedup).toBeCloseTo(dense.medianMs! / row.medianMs!, 9)
    }
    const left = planned.describe()
    expect(left.map(({ held }) => held?.width)).toEqual(WIDTH_NAMES.flatMap((width) => [width, width]))
    expect(left.map(({ weightBytes }) => Math.round(weightBytes!))).toEqual(
      rows.map((row) => row.weightBytes),
    )
  })

  test('quantising leaves what quantize writes', async () => {
    const out = join(folder, 'written')
    await quantizeModel(source, out, { bits: 4, group: 32, keep: ['embedding'] })
    const written = await loadModel(out, { device: 'cpu' })
    const held = await heldIn(loaded, 'int4')
    const [a, b] = [written.weights, held.eager.weights].map(allTensors)
    expect(a.map((tensor) => tensor.dataSync())).toEqual(b.map((tensor) => tensor.dataSync()))
    held.dispose()
    written.dispose()
  })

  test('a width that is not to be had here is left out with the reason, the others are measured', async () => {
    const narrow = await loadModel(join(FIXTURES, 'mixtral'), { device: 'cpu', dtype: 'float32' })
    const { rows } = await rowsOf(narrow, WIDTH_NAMES)
    narrow.dispose()
    expect(rows.map(({ n, skipped, weightBytes }) => [n > 0, skipped, weightBytes !== null])).toEqual([
      ...new Array(4).fill([true, null, true]),
      ...new Array(4).fill([false, 'rows of its matrices are no whole number of groups of 32', false]),
    ])
    expect(await problemOf('int8', placeOf(loaded, { executors: ['eager'] }))).toBe(
      'op by op 8 bits in groups of 32 are widened to float32 at every use',
    )
    expect(await problemOf('int8', placeOf(loaded, { memory: () => 10 }))).toMatch(
      /^needs about \S+ GB of memory, and 1\.00e-8 GB may be used$/,
    )
    const out = join(folder, 'already')
    await quantizeModel(source, out, { bits: 8, group: 32, keep: ['embedding'] })
    const written = await loadModel(out, { device: 'cpu', dtype: 'float32' })
    expect(await problemOf('int4', placeOf(written))).toBe('it is quantised already')
    const ended = holdIn('int4', placeOf(loaded), endless(), AbortSignal.abort())
    expect(await ended).toBe('interrupted')
    written.dispose()
  })

  test('the loss is that of the held-out texts, and unknown where they take too long', async () => {
    const moe = await loadModel(modelDirectory('tinymoe:moe'), { device: 'cpu', dtype: 'float32' })
    const texts = (await heldOutTexts(moe))!
    const documents = texts.documents.slice(0, 2)
    const model = new MoeModel(moe.config, moe.weights)
    const expected = lossReport(documents, await documentLosses(model, documents)).mean
    const { signal } = OPTIONS
    expect(await lossOf(model, { ...texts, documents }, endless(), signal)).toBe(expected)
    let clock = 0
    const passing = new TimeLimit(10_000, () => (clock += 6_000))
    expect(await lossOf(model, { ...texts, documents }, passing, signal)).toBeNull()
    expect(await lossOf(model, { ...texts, documents }, endless(), AbortSignal.abort())).toBeNull()
    moe.dispose()
  })
})

test('without TensorFlow there is float32, and each other width has its reason', async () => {
  const loaded = await loadModel(join(FIXTURES, 'mixtral'), { device: 'js' })
  const { rows } = await rowsOf(loaded, ['float32', 'bfloat16'])
  expect(rows.map(({ id, skipped }) => [id, skipped])).toEqual([
    ['width/B1/S5/float32/dense/eager', null],
    ['width/B1/S5/float32/sparse/eager', null],
    ...['dense', 'sparse'].map((dispatch) => [
      `width/B1/S5/bfloat16/${dispatch}/eager`,
      'js holds weights in float32 alone, not in bfloat16',
    ]),
  ])
  const { rows: none, problem } = await rowsOf(loaded, ['bfloat16'])
  expect([none, problem]).toEqual([[], 'js holds weights in float32 alone, not in bfloat16'])
  loaded.dispose()
})

test('work that would not end in its time is ended early, once its speed is known', () => {
  let clock = 0
  const limit = new TimeLimit(10_000, () => clock)
  const first = limit.watch()
  clock = 500
  first(0.001)
  clock = 2000
  first(0.25)
  const second = limit.watch()
  clock = 4000
  second(0.25) // 8 s, and 2 s before
  expect(limit.spentMs).toBe(4000)
  clock = 4100
  expect(() => second(0.25)).toThrow(TookTooLong)
  expect(() => second(0.25)).toThrow('would take about 8.4 s of 10 s for all')
})
