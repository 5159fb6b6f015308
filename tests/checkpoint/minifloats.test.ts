import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { heldAs } from '../../src/backend/held.ts'
import { SCALE_BYTES } from '../../src/backend/holding.ts'
import { LIMITS } from '../../src/backend/limits.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { startRuntime } from '../../src/device/index.ts'
import { Session } from '../../src/graph/sessions.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { mixturesOf } from '../../src/model/config.ts'
import { leaves } from '../../src/model/tree.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { product, sum } from '../../src/sums.ts'
import { expertBytes } from '../helpers/expert-bytes.ts'
import { FIXTURES, maxDifference, readGolden } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { FP8, MXFP4, writeMinifloats } from '../helpers/minifloats.ts'
import { randomTokens } from '../helpers/random.ts'
import { nodesRun, widenedWeights } from '../helpers/widened.ts'
import { temporaryDir } from './files.ts'

/* DeepSeek's fp8 blocks and gpt-oss' mxfp4 as they are stored, compared with the same weights widened to float32. */

const folder = temporaryDir()
const V = 40
const KINDS = { fp8: FP8, mxfp4: MXFP4 } as const
const ofQuantised = { fp8: 0, mxfp4: 0 }
const dirOf = (name: keyof typeof KINDS) => join(folder, name)

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
  for (const name of ['fp8', 'mxfp4'] as const) ofQuantised[name] = writeMinifloats(dirOf(name), KINDS[name])
})

/** Bytes in which matrices are held, by type. */
function heldBytes({ weights }: LoadedModel): Record<string, number> {
  const bytes: Record<string, number> = {}
  for (const [, tensor] of leaves<tf.Tensor | Float32Array>(weights)) {
    if (!(tensor instanceof tf.Tensor) || tensor.rank < 2) continue
    const held = heldAs(activeTensorflow(), tensor)
    if (held?.entry) continue // in the stack's memory
    const [name, size] = held ? [held.dtype, product(held.shape)] : ['float32', tensor.size]
    bytes[name] = (bytes[name] ?? 0) + size
  }
  return bytes
}

describe.each(['fp8', 'mxfp4'] as const)('%s', (name) => {
  test('held so, a model is the one of the same numbers in float32, eagerly and as graphs of any number of rows', async () => {
    const before = tf.memory().numTensors
    const [full, held] = [
      await loadModel(dirOf(name), { device: 'cpu', dtype: 'float32' }),
      await loadModel(dirOf(name), { device: 'cpu' }),
    ]
    expect([full.dtype, held.dtype]).toEqual(['float32', name])
    const numbers = new Map(leaves<tf.Tensor>(full.weights))
    for (const [path, tensor] of leaves<tf.Tensor | Float32Array>(held.weights)) {
      if (tensor instanceof tf.Tensor)
        expect(maxDifference(tensor.dataSync(), numbers.get(path)!.dataSync()), path).toBeLessThan(1e-37)
    }
    const calls = [
      ...DISPATCHES.flatMap((dispatch) => [1, 40].map((rows) => ({ dispatch, rows }))),
      ...[3, 16].map((rows) => ({ dispatch: 'auto' as const, rows })),
    ]
    for (const { dispatch, rows } of calls) {
      const tokens = randomTokens(rows, V, rows)
      const [expected, actual] = [full, held].map((model) => logitsOf(model.forward(tokens, { dispatch })))
      const eager = logitsOf(held.forward(tokens, { dispatch, interventions: {} }))
      const most = Math.max(...expected.map(Math.abs))
      expect(maxDifference(actual, expected), `${dispatch}, ${rows}`).toBeLessThan(2e-5 * most)
      expect(maxDifference(eager, expected), `${dispatch}, ${rows}, eager`).toBeLessThan(2e-5 * most)
    }
    for (const model of [full, held]) model.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })

  test('memory has the bytes of the file, once, whatever the number of graphs', async () => {
    const model = await loadModel(dirOf(name), { device: 'cpu' })
    const held = heldBytes(model)
    const groups = FP8.block[1]
    const scales = (rows: number, columns: number) => SCALE_BYTES.fp8 * rows * Math.ceil(columns / groups)
    // Each row of fp8 has its scales, which a file has once for all rows of a block.
    const expected = { fp8: fp8Bytes(scales), mxfp4: ofQuantised.mxfp4 }[name]
    expect(held.uint8).toBe(expected)
    expect(held.float32).toBe(floats[name])
    const assign = vi.spyOn(Session.prototype, 'assign')
    for (const tokens of [1, LIMITS.fewRows, 32, 64])
      model.forward(randomTokens(tokens, V, 1)).logits.dispose()
    const given = assign.mock.calls
      .flatMap(([variables]) => variables)
      .filter(({ shape }) => shape.length > 1)
    const inGroups = given.filter(({ dtype }) => dtype === 'uint8')
    expect(sum(inGroups.map(({ shape }) => product(shape)))).toBe(expected)
    expect(given.filter(({ dtype }) => dtype === 'float32')).toEqual([])
    assign.mockRestore()
    model.dispose()
  })

  test('nothing is widened before it is multiplied, but what latent attention cuts into keys and values', async () => {
    const model = await loadModel(dirOf(name), { device: 'cpu' })
    for (const rows of [1, 16, 40])
      expect(widenedWeights(model, rows)).toBe({ fp8: model.config.layers.length, mxfp4: 0 }[name])
    model.dispose()
  })

  test("of few rows a layer's experts are one kernel", async () => {
    const model = await loadModel(dirOf(name), { device: 'cpu' })
    const op = { fp8: 'TinymoeExperts', mxfp4: 'TinymoeClampedExperts' }[name]
    for (const [rows, layers] of [
      [1, true],
      [LIMITS.fewRows, true],
      [40, name === 'fp8'],
    ] as const) {
      const kernels = nodesRun(model, rows).filter((node) => node.op === op && !/part[1-9]/.test(node.name))
      expect(kernels).toHaveLength(layers ? mixturesOf(model.weights.blocks).length : 0)
    }
    model.dispose()
  })

  test('experts that stay on disk take as many bytes, and give the same bits', async () => {
    const tokens = randomTokens(20, V, 7)
    const { one } = await expertBytes(dirOf(name))
    const ofExpert = {
      fp8: 2 * 41 * (72 + 3 * SCALE_BYTES.fp8) + 72 * (41 + 2 * SCALE_BYTES.fp8),
      mxfp4: (3 * 96 * 64 * 17) / 32 + 4 * (2 * 64 + 96), // and biases of float32
    }
    expect(one).toBe(ofExpert[name])
    const [whole, part] = await Promise.all(
      [undefined, one * experts[name]].map((expertsOnDisk) =>
        loadModel(dirOf(name), { device: 'cpu', expertsOnDisk }),
      ),
    )
    for (const some of [tokens, tokens.slice(0, 1)])
      expect(logitsOf(part.forward(some))).toEqual(logitsOf(whole.forward(some)))
    expect(part.expertReads!.misses).toBeGreaterThan(0)
    whole.dispose()
    part.dispose()
  })

  test('a decoded token has the same bits with any number of threads', async () => {
    const program = fileURLToPath(new URL('minifloats-threads.ts', import.meta.url))
    const run = async (threads: number) => {
      const args = ['--import', 'tsx', program, dirOf(name), String(threads)]
      return (await promisify(execFile)(process.execPath, args)).stdout
    }
    const [one, ...others] = await Promise.all([1, 2, 3].map(run))
    expect(JSON.parse(one)).toHaveLength(3 * V)
    for (const other of others) expect(other).toBe(one)
  })
})

const experts = { fp8: FP8.config.n_routed_experts, mxfp4: MXFP4.config.num_local_experts }
/** Routers, and of mxfp4 experts' biases. */
const floats = { fp8: 6 * 72, mxfp4: 2 * 5 * (96 + 2 * 64 + 96) }

/** What the matrices of the model in fp8 take. */
function fp8Bytes(scales: (rows: number, columns: number) => number): number {
  const { config } = FP8
  const { hidden_size: D, num_attention_heads: N, q_lora_rank: Rq, kv_lora_rank: Rk } = config
  const { qk_nope_head_dim: n, qk_rope_head_dim: r, v_head_dim: v } = config
  const attention = [
    [Rq, D],
    [N * (n + r), Rq],
    [Rk + r, D],
    [N * (n + v), Rk],
    [D, N * v],
  ]
  const swiglu = (H: number) => [
    [2 * H, D],
    [D, H],
  ]
  const routed = Array.from({ length: config.n_routed_experts + 1 }, () =>
    swiglu(config.moe_intermediate_size),
  )
  const all = [...attention, ...attention, ...swiglu(config.intermediate_size), ...routed.flat()]
  return sum(all.map(([rows, columns]) => rows * columns + scales(rows, columns)))
}

test.each([
  ['deepseek_v3/fp8', 'fp8'],
  ['gpt_oss/mxfp4', 'bfloat16'], // the fixture's embedding is larger than its experts
])("%s: transformers' tokens, as widened", async (name, dtype) => {
  const dir = join(FIXTURES, name)
  const before = tf.memory().numTensors
  const model = await loadModel(dir, { device: 'cpu' })
  expect(model.dtype).toBe(dtype)
  expect(heldBytes(model).uint8).toBeGreaterThan(0)
  const { generation, prompts } = readGolden(`${name}/golden.json`)
  for (const { prompt, tokens } of generation) {
    const given = prompts.find((one) => one.name === prompt)!.input_ids
    const settings = { maxTokens: tokens.length, temperature: 0, ignoreEos: true }
    expect((await model.generate({ tokens: given, ...settings }).done).tokens).toEqual(tokens)
  }
  model.dispose()
  expect(tf.memory().numTensors).toBe(before)
})
