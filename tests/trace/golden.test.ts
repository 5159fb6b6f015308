import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import type { Interventions } from '../../src/model/router/types.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import { Decisions } from '../../src/trace/decision.ts'
import { traceFromJson } from '../../src/trace/json.ts'
import { traceRun } from '../../src/trace/run.ts'
import { tinymoe } from '../cli/run-cli.ts'
import { FIXTURES, type Golden, maxDifference, readGolden } from '../helpers/golden.ts'

/** Limits of the reference's SPEC. */
const ROUTER_LOGITS = 1e-4
const WEIGHTS = 2e-5

const FIXTURE_GOLDENS = [
  ['mixtral', 'mixtral/golden.json'],
  ['mixtral/fused', 'mixtral/golden.json'],
  ['mixtral/sharded', 'mixtral/golden.json'],
  ['mixtral/bf16', 'mixtral/bf16/golden.json'],
]

function expectGolden({ rows, layers }: RoutingTrace, prompt: Golden['prompts'][0]): void {
  expect(rows).toEqual(prompt.input_ids.map((token, position) => ({ sequence: 0, position, token })))
  expect(layers.map(({ layer }) => layer)).toEqual(prompt.routing.map(({ layer }) => layer))
  layers.forEach(({ topK: K, routerLogits, expertIndices, expertWeights }, l) => {
    const { logits, experts, weights } = prompt.routing[l]
    expect(maxDifference(routerLogits, logits.flat())).toBeLessThan(ROUTER_LOGITS)
    experts.forEach((chosen, t) => {
      // the golden file has experts by number, a trace by preference
      const own = [...expertIndices.subarray(t * K, (t + 1) * K)]
      expect(own.toSorted((a, b) => a - b)).toEqual(chosen)
      const ownWeights = chosen.map((e) => expertWeights[t * K + own.indexOf(e)])
      expect(maxDifference(ownWeights, weights[t])).toBeLessThan(WEIGHTS)
    })
  })
}

describe.each(FIXTURE_GOLDENS)('%s', (dir, golden) => {
  let model: LoadedModel
  beforeAll(async () => {
    model = await loadModel(join(FIXTURES, dir), { device: 'cpu' })
  })
  afterAll(() => model.dispose())

  test('the trace of every prompt equals the golden routing, and so do the steps run again from it', async () => {
    for (const prompt of readGolden(golden).prompts) {
      const run = await traceRun(model, { tokens: prompt.input_ids, maxTokens: 0 })
      expectGolden(run.trace, prompt)
      const decisions = new Decisions(model, run.trace)
      for (const l of run.trace.layers.keys()) {
        for (const t of run.trace.rows.keys()) expect(decisions.at(l, t).agrees).toBe(true)
      }
    }
  })
})

test('tinymoe trace --json and --out give the golden routing', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-trace-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const [, prompt] = readGolden('mixtral/golden.json').prompts
  const out = join(dir, 'trace.json')
  const { code, stdout } = await tinymoe(
    'trace',
    join(FIXTURES, 'mixtral'),
    '--tokens',
    prompt.input_ids.join(','),
    '--json',
    '--out',
    out,
  )
  expect(code).toBe(0)
  expectGolden(traceFromJson(stdout).trace, prompt)
  expect(readFileSync(out, 'utf8')).toBe(stdout)
})

describe('a run with generating', () => {
  const golden = readGolden('mixtral/golden.json')
  const tokens = golden.prompts[0].input_ids
  let model: LoadedModel
  beforeAll(async () => {
    model = await loadModel(join(FIXTURES, 'mixtral'), { device: 'cpu' })
  })
  afterAll(() => model.dispose())

  test('goes on where the prompt ends; the last new token is not routed', async () => {
    const { trace, calls, generated } = await traceRun(model, { tokens, maxTokens: 5 })
    expect(generated).toEqual(golden.generation[0].tokens.slice(0, 5))
    expect(calls.map(({ rows }) => rows.length)).toEqual([tokens.length, 1, 1, 1, 1])
    expect(trace.rows.map(({ token }) => token)).toEqual([...tokens, ...generated.slice(0, 4)])
    expect(trace.rows.map(({ position }) => position)).toEqual([...trace.rows.keys()])
  })

  test.each<[string, Interventions]>([
    ['top-k', { topK: 3 }],
    ['temperature', { temperature: 2 }],
    ['disabled experts', { disable: [{ expert: 4 }, { expert: 5, layer: 1 }] }],
    ['a bias', { bias: [{ expert: 0, value: 0.5 }] }],
    ['a forced token', { force: [{ position: 8, experts: [7] }] }],
    ['random routing', { replace: { by: 'random', seed: 3 } }],
    ['capacity, which counts the tokens of a call', { capacity: { factor: 0.5, policy: 'drop' } }],
    ['capacity with moving', { capacity: { factor: 0.5, policy: 'next-best' } }],
  ])('every decision with %s is what its steps come to', async (_, interventions) => {
    const { trace } = await traceRun(model, { tokens, maxTokens: 4, interventions })
    const decisions = new Decisions(model, trace)
    for (const [l, layer] of trace.layers.entries()) {
      const K = layer.topK
      for (const [t, row] of trace.rows.entries()) {
        const { agrees, steps, recorded, row: own } = decisions.at(l, t)
        expect([agrees, own]).toEqual([true, row])
        expect([...recorded.expertIndices]).toEqual([...layer.expertIndices.subarray(t * K, (t + 1) * K)])
        expect(steps[0].outputs.routerLogits.data).toEqual(
          layer.routerLogits.slice(t * layer.numExperts, (t + 1) * layer.numExperts),
        )
      }
    }
  })

  test('a decision that does not follow from its logits is noticed', async () => {
    const { trace } = await traceRun(model, { tokens, maxTokens: 0 })
    const { layers } = trace
    layers[0].expertWeights[0] += 0.01
    ;[layers[1].expertIndices[0], layers[1].expertIndices[1]] = [0, 1]
    const decisions = new Decisions(model, trace)
    expect([0, 1, 2].map((l) => decisions.at(l, 0).agrees)).toEqual([false, false, true])
    expect(() => decisions.at(0, tokens.length)).toThrow(`the trace has no row ${tokens.length}`)
  })

  test.each([0, 1])(
    'a prompt longer than the model has positions is refused (%i new tokens)',
    async (maxTokens) => {
      const long = new Array(model.config.maxPositionEmbeddings + 1).fill(1)
      await expect((async () => traceRun(model, { tokens: long, maxTokens }))()).rejects.toThrow(
        `prompt: has ${long.length} tokens, expected at most the model's maxPositionEmbeddings=${long.length - 1}`,
      )
    },
  )

  test.each([0, 3])('leaks nothing (%i new tokens)', async (maxTokens) => {
    const before = tf.memory().numTensors
    for (const interventions of [undefined, { topK: 1 }]) {
      await traceRun(model, { tokens, maxTokens, interventions })
    }
    expect(tf.memory().numTensors).toBe(before)
    const wrong = { topK: 99 }
    await expect(traceRun(model, { tokens, maxTokens, interventions: wrong })).rejects.toThrow('topK: 99')
    expect(tf.memory().numTensors).toBe(before)
  })
})
