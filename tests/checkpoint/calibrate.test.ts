import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { calibrate } from '../../src/checkpoint/calibrate.ts'
import { type ErrorFactor, errorFactor } from '../../src/checkpoint/gptq.ts'
import { startRuntime } from '../../src/device/index.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { sum } from '../../src/sums.ts'
import { numbersOf } from '../helpers/held.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

const [D, H, E, K, V] = [12, 20, 5, 2, 40]
const texts = [7, 1, 19].map((length, i) => randomTokens(length, V, i))

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

/** What `calibrate` gives to round each matrix by, when it is then changed by `change`. */
function given(model: MoeModel, change: (values: Float32Array) => Float32Array) {
  const values = numbersOf(model)
  const rounded = new Set<string>()
  const inputs = new Map<string, ErrorFactor | null>()
  const shares: number[] = []
  const steps = calibrate(model.config, values, texts, {
    isRounded: ({ part, shape }) => part !== 'router' && shape.length === 2,
    *round({ name, stored }, factor) {
      inputs.set(name, factor)
      yield
      for (const each of stored) rounded.add(each.name)
    },
    rounded: (name) => (rounded.has(name) ? change(values(name)) : values(name)),
  })
  for (const share of steps) shares.push(share)
  return { inputs, shares }
}

/** Rows normed and weighted, which is what the matrices behind a norm are given. */
function normed(states: Float32Array, weight: Float32Array): number[][] {
  return Array.from({ length: states.length / D }, (_, t) => {
    const row = [...states.subarray(t * D, (t + 1) * D)]
    const size = Math.sqrt(sum(row.map((x) => x * x)) / D + 1e-5)
    return row.map((x, i) => (x / size) * weight[i])
  })
}

function factorOf(rows: number[][]): number[] {
  const n = rows[0].length
  const moments = Float64Array.from({ length: n * n }, (_, at) =>
    sum(rows.map((row) => row[Math.floor(at / n)] * row[at % n])),
  )
  return [...errorFactor(moments, n).numbers]
}

function expectNear(actual: ErrorFactor | null | undefined, expected: number[]): void {
  const most = Math.max(...expected.map(Math.abs))
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual!.numbers[i] - value)).toBeLessThan(1e-3 * most)
}

describe('what texts give to matrices', () => {
  test('is what the model gives them, expert by expert, and leaves nothing behind', () => {
    const model = randomModel({ D, H, E, K, V, layers: 2 })
    const values = numbersOf(model)
    const before = tf.memory().numTensors
    const { inputs, shares } = given(model, (same) => same)
    expect(tf.memory().numTensors).toBe(before)
    expect(shares).toEqual(shares.toSorted((a, b) => a - b))

    const traces = texts.map((tokens) => {
      const { logits, trace } = model.forward(tokens, { trace: { hiddenStates: true } })
      logits.dispose()
      return trace
    })
    for (const layer of [0, 1]) {
      const entering = traces.map(({ hiddenStates: states }) =>
        layer === 0 ? states!.embed : states!.layers[layer - 1].output,
      )
      const norm = (name: string) => values(`blocks.${layer}.${name}`)
      expectNear(
        inputs.get(`blocks.${layer}.attention.q+k+v`),
        factorOf(entering.flatMap((states) => normed(states, norm('attentionNorm')))),
      )
      const fed = traces.map(({ hiddenStates: states }, i) =>
        normed(
          entering[i].map((x, at) => x + states!.layers[layer].attention[at]),
          norm('feedForwardNorm'),
        ),
      )
      for (let e = 0; e < E; e++) {
        const rows = traces.flatMap(({ layers }, i) =>
          fed[i].filter((_, t) => layers[layer].expertIndices.subarray(t * K, (t + 1) * K).includes(e)),
        )
        const factor = inputs.get(`blocks.${layer}.moe.experts.${e}.gate+up`)
        if (rows.length === 0) expect(factor).toBeNull()
        else expectNear(factor, factorOf(rows))
        expect(inputs.get(`blocks.${layer}.moe.experts.${e}.down`)?.n).toBe(rows.length === 0 ? undefined : H)
      }
    }
    model.dispose()
  })

  test('comes from layers that are rounded before', () => {
    const model = randomModel({ D, H, E, K, V, layers: 2 })
    const [same, other] = [(x: Float32Array) => x, (x: Float32Array) => x.map((value) => 0.5 * value)].map(
      (change) => given(model, change).inputs,
    )
    const numbers = (layer: number, inputs: typeof same) =>
      inputs.get(`blocks.${layer}.attention.q+k+v`)!.numbers
    expect(numbers(0, other)).toEqual(numbers(0, same))
    expect(numbers(1, other)).not.toEqual(numbers(1, same))
    model.dispose()
  })
})
