import { fileURLToPath } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { afterEach, beforeAll, expect, test, vi } from 'vitest'
import type { Dtype } from '../../src/backend/dtypes.ts'
import { heldAs } from '../../src/backend/held.ts'
import { LIMITS } from '../../src/backend/limits.ts'
import { activeTensorflow, type TfjsNode } from '../../src/backend/tensorflow.ts'
import { startRuntime } from '../../src/device/index.ts'
import type { RuntimeReport } from '../../src/device/report.ts'
import { Session, Sessions } from '../../src/graph/sessions.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { leaves } from '../../src/model/tree.ts'
import { allTensors } from '../../src/model/weights.ts'
import { maxDifference } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'

/*
 * The ways that a card takes, walked on the processor: TensorFlow's backend says that it is on a card, and what it computes is the
 * same. That a card computes so, no machine here can show.
 */

vi.mock(import('../../src/device/index.ts'), async (original) => {
  const device = await original()
  return { ...device, startRuntime: vi.fn(device.startRuntime) }
})

let node: TfjsNode

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
  node = activeTensorflow()
})

afterEach(() => {
  node.isUsingGpuDevice = false
  vi.restoreAllMocks()
})

/** models/moe on the processor, and as a card would have it. */
async function pair(dtype: Dtype): Promise<LoadedModel[]> {
  const onProcessor = await loadModel('models/moe', { device: 'cpu' })
  node.isUsingGpuDevice = true
  vi.mocked(startRuntime).mockResolvedValueOnce({ report: onProcessor.runtime })
  return [onProcessor, await loadModel('models/moe', { dtype })]
}

const PROMPT = Array.from({ length: 40 }, (_, i) => 49 + ((i * 37) % 900))
const interventions = { disable: [{ expert: 0 }] }

/** The logits of a prompt, of six tokens after it, and of an eager call. */
function run(model: LoadedModel): Float32Array[] {
  const cache = model.createCache()
  const after = (tokens: number[]) => logitsOf(model.forward(tokens, { cache, logits: 'last' }))
  const recorded = [PROMPT, [5], [6], [7]].map(after)
  for (let step = 0; step < 3; step++) model.greedy([8], { cache })
  const eager = logitsOf(model.forward(PROMPT, { interventions, logits: 'last' }))
  cache.dispose()
  return [...recorded, eager]
}

test.each([
  ['float32', 1e-4],
  ['bfloat16', 1],
] as const)(
  '%s: one session has the weights, one at a time and once, and tfjs brings none there',
  async (dtype, tolerance) => {
    const before = tf.memory().numTensors
    const models = await pair(dtype)
    const [onProcessor, onCard] = models
    node.isUsingGpuDevice = false
    const expected = run(onProcessor)
    node.isUsingGpuDevice = true

    const weights = allTensors(onCard.weights).filter(({ size }) => size > LIMITS.constantValues)
    const onHost = () => weights.filter(({ dataId }) => node.tensorMap.get(dataId).id < 0).length
    const brought: number[] = []
    const { getInputTensorIds } = node
    vi.spyOn(node, 'getInputTensorIds').mockImplementation(function (this: TfjsNode, tensors) {
      brought.push(tensors.filter((tensor) => weights.some(({ dataId }) => dataId === tensor.dataId)).length)
      return getInputTensorIds.call(this, tensors)
    })
    const sessions = vi.spyOn(Sessions.prototype, 'at')
    const access = vi.spyOn(Session.prototype, 'access')

    const actual = run(onCard)
    for (const [i, logits] of actual.entries())
      expect(maxDifference(logits, expected[i])).toBeLessThan(tolerance)
    expect(onHost()).toBe(weights.length)
    expect(brought.reduce((a, b) => a + b)).toBeGreaterThan(0) // by the intervention

    brought.length = 0
    onCard.forward([...PROMPT, ...PROMPT], {}).logits.dispose() // another shape: recorded now
    expect(brought.reduce((a, b) => a + b)).toBe(0)

    expect(new Set(sessions.mock.results.map(({ value }) => value)).size).toBe(1)
    const variables = access.mock.calls
      .map(([given]) => given)
      .filter(([{ name }]) => !name.startsWith('cache/'))
    expect(variables.every(({ length }) => length === 1)).toBe(true)
    const made = variables.map(([variable]) => variable)
    expect(new Set(made.map(({ name }) => name)).size).toBe(made.length)
    const stacked = onCard.weights.blocks.flatMap(({ feedForward }) =>
      feedForward.kind === 'moe' ? leaves<tf.Tensor>(feedForward.stacked).map(([, stack]) => stack) : [],
    )
    const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b)
    const experts = made.filter(({ shape }) => shape.length === 3).map(({ shape }) => sizeOf(shape))
    expect(experts.toSorted()).toEqual(stacked.map(({ size }) => size).toSorted())
    expect(made.some((variable) => variable.dtype !== 'float32')).toBe(dtype !== 'float32')

    for (const model of models) model.dispose()
    expect(tf.memory().numTensors).toBe(before)
  },
)

test.each([
  [
    '8.0',
    'bfloat16',
    /weights, fp8, for which TensorFlow has no kernels on a card, are widened to bfloat16$/,
  ],
  ['7.5', 'float32', /are widened to float32, as cards of compute capability 7\.5 do not multiply bfloat16$/],
  [
    null,
    'float32',
    /are widened to float32, as cards of compute capability unknown do not multiply bfloat16$/,
  ],
] as const)(
  'fp8 blocks on a card of compute capability %s are widened to %s, which a remark says',
  async (computeCapability, dtype, remark) => {
    const dir = fileURLToPath(new URL('../fixtures/deepseek_v3/fp8', import.meta.url))
    const before = tf.memory().numTensors
    const onProcessor = await loadModel(dir, { device: 'cpu' })
    expect(onProcessor.remarks).toEqual([])
    node.isUsingGpuDevice = true
    const report: RuntimeReport = { ...onProcessor.runtime, device: 'cuda', computeCapability }
    vi.mocked(startRuntime).mockResolvedValueOnce({ report })
    const onCard = await loadModel(dir)
    expect(onCard.dtype).toBe(dtype)
    expect(onCard.remarks).toEqual([expect.stringMatching(remark)])
    const tokens = PROMPT.map((token) => token % 140)
    const actual = logitsOf(onCard.forward(tokens, { logits: 'last' }))
    const held = allTensors(onCard.weights).flatMap((tensor) => heldAs(node, tensor)?.dtype ?? [])
    expect(new Set(held)).toEqual(new Set(dtype === 'bfloat16' ? ['bfloat16'] : []))
    onCard.dispose()
    node.isUsingGpuDevice = false
    const expected = logitsOf(onProcessor.forward(tokens, { logits: 'last' }))
    onProcessor.dispose()
    expect(tf.memory().numTensors).toBe(before)
    expect(maxDifference(actual, expected)).toBeLessThan(dtype === 'bfloat16' ? 1 : 1e-4)
  },
)
