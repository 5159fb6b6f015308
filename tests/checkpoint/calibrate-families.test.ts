import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Groups } from '../../src/backend/holding.ts'
import { calibrate } from '../../src/checkpoint/calibrate.ts'
import { type ErrorFactor, inGroupsFor } from '../../src/checkpoint/gptq.ts'
import { groupedValues, inGroups } from '../../src/checkpoint/groups.ts'
import { eachStored, packWeights } from '../../src/checkpoint/pack.ts'
import { quantizeModel } from '../../src/checkpoint/quantize.ts'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import { quantizedAs } from '../../src/checkpoint/widths.ts'
import { startRuntime } from '../../src/device/index.ts'
import { runnableConfig } from '../../src/families/index.ts'
import { loadModel } from '../../src/load-model.ts'
import type { Clamp, ModelConfig } from '../../src/model/config.ts'
import type { TensorSpec } from '../../src/model/tensor-spec.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { leaves } from '../../src/model/tree.ts'
import { tensorSpecs, weightTable } from '../../src/model/weight-table.ts'
import type { ExpertWeights, LinearWeights } from '../../src/model/weights.ts'
import { ARCHITECTURES, smallConfig } from '../families/arbitrary.ts'
import { dampedMoments, gptqReference } from '../helpers/gptq.ts'
import { numbersOf } from '../helpers/held.ts'
import { modelOfConfig, randomTokens } from '../helpers/random.ts'
import type { Matrix } from '../helpers/reference.ts'

/*
 * Calibration of any small model of any family by its definition: the whole model runs on each text, what its `linear` and `applyExpert`
 * are given is written down row by row, and each row of a matrix is rounded by plain loops.
 */

/** Told what the model's own functions are given, while a definition listens. */
const heard = vi.hoisted(() => ({
  linear: null as null | ((x: tf.Tensor2D, weights: LinearWeights) => void),
  expert: null as null | ((x: tf.Tensor2D, weights: ExpertWeights, clamp?: Clamp) => void),
}))
vi.mock('../../src/model/linear.ts', async (original) => {
  const own = await original<typeof import('../../src/model/linear.ts')>()
  const linear: typeof own.linear = (x, weights) => {
    heard.linear?.(x, weights)
    return own.linear(x, weights)
  }
  return { ...own, linear }
})
vi.mock('../../src/model/experts.ts', async (original) => {
  const own = await original<typeof import('../../src/model/experts.ts')>()
  const applyExpert: typeof own.applyExpert = (x, expert, clamp) => {
    heard.expert?.(x, expert, clamp)
    return own.applyExpert(x, expert, clamp)
  }
  return { ...own, applyExpert }
})

/** Widths are whole groups of 32. */
const DEEPSEEK = {
  model_type: 'deepseek_v3',
  vocab_size: 40,
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  q_lora_rank: 32,
  kv_lora_rank: 32,
  qk_nope_head_dim: 16,
  qk_rope_head_dim: 16,
  v_head_dim: 16,
  intermediate_size: 64,
  moe_intermediate_size: 32,
  n_routed_experts: 4,
  num_experts_per_tok: 2,
  n_shared_experts: 1,
  n_group: 1,
  topk_group: 1,
  first_k_dense_replace: 1,
  max_position_embeddings: 64,
  rope_parameters: { rope_type: 'default', rope_theta: 100 },
}

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

const isRounded = (spec: TensorSpec) =>
  typeof quantizedAs(spec, spec.shape, { bits: 4, group: 32, keep: [] }) !== 'string'

/** Small ones that fit, so that a row has several. */
function groupsOf({ shape: [, n] }: TensorSpec): Groups {
  return { bits: 4, group: [4, 2].find((size) => n % size === 0) ?? n }
}

function rowsOf(x: tf.Tensor2D): Matrix {
  return x.arraySync()
}

/** What an expert's second matrix is given, number by number. */
function between(x: Matrix, { gateUp }: ExpertWeights, clamp?: Clamp): Matrix {
  const weight = gateUp.weight.arraySync() as Matrix
  const bias = gateUp.bias?.arraySync() as number[] | undefined
  const H = weight.length / 2
  return x.map((row) => {
    const both = weight.map((own, o) => own.reduce((sum, w, i) => sum + w * row[i], bias?.[o] ?? 0))
    return Array.from({ length: H }, (_, h) => {
      const [gate, up] = [both[h], both[H + h]]
      if (!clamp) return (gate / (1 + Math.exp(-gate))) * up
      const open = Math.min(gate, clamp.limit)
      const within = Math.max(Math.min(up, clamp.limit), -clamp.limit)
      return (open / (1 + Math.exp(-clamp.alpha * open))) * (within + 1)
    })
  })
}

/** All rows that the whole model multiplies with each of its matrices, by the matrix's name. */
function given(model: MoeModel, texts: number[][]): Map<string, Matrix> {
  const tensors = new Map(leaves<tf.Tensor>(model.weights))
  const names = new Map<object, string>()
  for (const [path, { name }] of tensorSpecs(weightTable(model.config))) {
    const tensor = tensors.get(path)
    if (tensor) names.set(tensor, name)
  }
  const rows = new Map<string, Matrix>()
  const add = (weight: tf.Tensor, more: Matrix) => {
    const name = names.get(weight)
    if (name) rows.set(name, [...(rows.get(name) ?? []), ...more])
  }
  const gates = new Map<ExpertWeights, tf.Tensor>()
  for (const { feedForward } of model.weights.blocks)
    if (feedForward.kind === 'moe' && feedForward.shared && feedForward.sharedGate)
      gates.set(feedForward.shared, feedForward.sharedGate)
  heard.linear = (x, { weight }) => add(weight, rowsOf(x))
  heard.expert = (x, expert, clamp) => {
    add(expert.gateUp.weight, rowsOf(x))
    add(expert.down.weight, between(rowsOf(x), expert, clamp))
    const gate = gates.get(expert)
    if (gate) add(gate, rowsOf(x))
  }
  const mixes = model.config.layers.some(({ feedForward }) => feedForward.kind === 'moe')
  try {
    for (const tokens of texts) {
      model.forward(tokens, { dispatch: 'sparse', ...(mixes && { interventions: {} }) }).logits.dispose()
    }
  } finally {
    heard.linear = null
    heard.expert = null
  }
  return rows
}

/** What `calibrate` gives to round each tensor by, and the values of what is rounded by it. */
function calibrated(config: ModelConfig, values: (ours: string) => Float32Array, texts: number[][]) {
  const inputs = new Map<string, ErrorFactor | null>()
  const made = new Map<string, Float32Array>()
  const rounded = (name: string) => made.get(name) ?? values(name)
  const steps = calibrate(config, values, texts, {
    isRounded,
    *round(spec, factor) {
      inputs.set(spec.name, factor)
      const groups = groupsOf(spec)
      for (const { name } of spec.stored) {
        const matrix = values(name)
        made.set(
          name,
          groupedValues(factor ? inGroupsFor(factor, matrix, groups) : inGroups(matrix, groups), groups),
        )
        yield
      }
    },
    rounded,
  })
  for (const _ of steps);
  return { inputs, rounded }
}

function matrixOf(numbers: Float32Array, n: number): Matrix {
  return Array.from({ length: numbers.length / n }, (_, r) => [...numbers.subarray(r * n, (r + 1) * n)])
}

/** What a factor L was made of, L^T L. */
function product({ numbers, n }: ErrorFactor): Matrix {
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, k) => {
      let sum = 0
      for (let row = 0; row < n; row++) sum += numbers[row * n + i] * numbers[row * n + k]
      return sum
    }),
  )
}

function expectNear(actual: Matrix, expected: Matrix, name: string): void {
  const most = Math.max(...expected.flat().map(Math.abs))
  for (const [i, row] of expected.entries())
    for (const [k, value] of row.entries())
      expect(Math.abs(actual[i][k] - value), name).toBeLessThan(1e-4 * most)
}

/**
 * Layer by layer: the rows that the model with the layers before rounded multiplies each matrix with, and what the matrix is rounded to by
 * them. `inputs`: what it was rounded by, where that is known.
 */
function expectDefinition({
  config,
  values,
  rounded,
  texts,
  isRounded,
  groupsOf,
  inputs,
}: {
  config: ModelConfig
  values: (ours: string) => Float32Array
  rounded: (ours: string) => Float32Array
  texts: number[][]
  isRounded(spec: TensorSpec): boolean
  groupsOf(spec: TensorSpec): Groups
  inputs?: Map<string, ErrorFactor | null>
}): void {
  let [all, other] = [0, 0]
  for (const layer of config.layers.keys()) {
    const isBefore = (name: string) => Number(/^blocks\.(\d+)\./.exec(name)?.[1] ?? layer) < layer
    const source = eachStored(({ name }, target) => target.set(isBefore(name) ? rounded(name) : values(name)))
    const model = new MoeModel(config, packWeights(weightTable(config), source))
    const rows = given(model, texts)
    model.dispose()
    for (const [, spec] of tensorSpecs(weightTable(config))) {
      if (!spec.name.startsWith(`blocks.${layer}.`) || !isRounded(spec)) continue
      const own = rows.get(spec.name)
      if (!own) {
        if (inputs) expect(inputs.get(spec.name), spec.name).toBeNull()
        continue
      }
      const A = dampedMoments(own)
      if (inputs) expectNear(product(inputs.get(spec.name) as ErrorFactor), A, spec.name)
      for (const { name, shape } of spec.stored) {
        const [before, after] = [values, rounded].map((of) => matrixOf(of(name), shape[1]))
        const expected = gptqReference(before, A, groupsOf(spec)).flat()
        const actual = after.flat()
        all += expected.length
        other += expected.filter((value, i) => Math.abs(value - actual[i]) > 1e-6).length
      }
    }
  }
  expect(all).toBeGreaterThan(0)
  // A number may stand in the middle between two, by which the rest of its row goes another way.
  expect(other / all).toBeLessThan(0.002)
}

describe.each(ARCHITECTURES)('%s', (modelType) => {
  test('each matrix is rounded by what the model with the layers before rounded multiplies it with', () => {
    fc.assert(
      fc.property(smallConfig(modelType), fc.nat(), (json, seed) => {
        const { config } = runnableConfig(json, 'config.json')
        const original = modelOfConfig(config, seed)
        const values = numbersOf(original)
        original.dispose()
        const texts = [7, 1, 19].map((length, i) => randomTokens(length, config.vocabSize, seed + i))
        const made = calibrated(config, values, texts)
        expectDefinition({ config, values, texts, isRounded, groupsOf, ...made })
      }),
      { numRuns: 2, seed: 5 },
    )
  }, 120_000)
})

test('quantize writes so a model with latent attention, a dense layer and shared experts', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'calibrate-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const [source, out] = [join(folder, 'source'), join(folder, 'out')]
  const { config } = runnableConfig(DEEPSEEK, 'config.json')
  const original = modelOfConfig(config, 3)
  const values = numbersOf(original)
  saveCheckpoint(source, config, 'F32', values)
  original.dispose()
  const texts = [40, 1, 23].map((length, i) => randomTokens(length, config.vocabSize, i))
  const groups = { bits: 4, group: 32 } as const
  await quantizeModel(source, out, { ...groups, keep: ['embedding'], texts })
  const loaded = await loadModel(out, { device: 'cpu', dtype: 'float32' })
  const written = numbersOf(loaded)
  loaded.dispose()
  const isPacked = (spec: TensorSpec) => isRounded(spec) && !spec.name.endsWith('kUp+vUp') // that one is cut when it is read
  const packed = new Set(
    [...tensorSpecs(weightTable(config))]
      .flatMap(([, spec]) => (isPacked(spec) ? spec.stored : []))
      .map(({ name }) => name),
  )
  expect([...packed].filter((name) => /^blocks\.1\.moe\.shared\./.test(name))).toHaveLength(3)
  expectDefinition({
    config,
    values,
    rounded: (name) => (packed.has(name) ? written(name) : values(name)),
    texts,
    isRounded: isPacked,
    groupsOf: () => groups,
  })
})
