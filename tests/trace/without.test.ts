import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import type { Interventions } from '../../src/model/router/types.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { withoutEach } from '../../src/trace/without.ts'
import { PATIENT, tinymoe } from '../cli/run-cli.ts'
import { fixtureModel } from '../helpers/golden.ts'
import { randomTokens } from '../helpers/random.ts'

describe('an answer without each expert', () => {
  let model: MoeModel
  beforeAll(async () => {
    await startRuntime({ device: 'js' })
    model = fixtureModel('mixtral')
  })
  afterAll(() => model.dispose())

  /** By the plain forward: the product of the softmax's values. */
  function probability(tokens: number[], from: number, interventions?: Interventions): number {
    return tf.tidy(() => {
      const { logits } = model.forward(tokens.slice(0, -1), { interventions })
      const p = tf.softmax(logits as tf.Tensor2D).arraySync() as number[][]
      return tokens.slice(from).reduce((all, token, i) => all * p[from - 1 + i][token], 1)
    })
  }

  test.each<[string, Interventions]>([
    ['routed as it is', {}],
    ['with a bias', { bias: [{ expert: 3, value: 0.1 }] }],
  ])('%s is as likely as the forward with that expert disabled has it', (_, changed) => {
    const tokens = randomTokens(9, model.config.vocabSize, 4)
    const before = tf.memory().numTensors
    const result = withoutEach(model, tokens, 6, changed)
    expect(tf.memory().numTensors).toBe(before)
    expect(result.probability).toBeCloseTo(probability(tokens, 6, changed), 10)
    expect(result.layers).toHaveLength(3)
    for (const { layer, experts } of result.layers) {
      for (const one of experts) {
        const without = probability(tokens, 6, { ...changed, disable: [{ expert: one.expert, layer }] })
        expect(one.probability! / without).toBeCloseTo(1, 4)
        // an expert that no token was sent to is not missed; with a bias it is, for scores are shared anew
        if (one.tokens === 0 && !changed.bias) expect(one.probability! / result.probability).toBeCloseTo(1, 5)
      }
      expect(experts.filter(({ chosen }) => chosen)).toHaveLength(2)
      expect(experts.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(2 * 8)
    }
  })

  test('has no number where too few experts would be left', () => {
    const disable = [0, 1, 2, 3, 4, 5].map((expert) => ({ expert, layer: 1 }))
    const { layers } = withoutEach(model, [1, 5, 34], 2, { disable })
    expect(layers[1].experts.map(({ probability }) => probability === null)).toEqual([
      ...new Array(6).fill(false), // disabled already
      true,
      true,
    ])
    expect(layers[0].experts.every(({ probability }) => probability !== null)).toBe(true)
  })
})

describe('tinymoe trace --answer', PATIENT, () => {
  const run = (...flags: string[]) => tinymoe('trace', 'moe', '--prompt', 'Once upon a', ...flags)

  test('is a table, or JSON with the same numbers', async () => {
    const [{ stdout: text }, { stdout: json }] = await Promise.all([
      run('--answer', ' time'),
      run('--answer', ' time', '--json'),
    ])
    const { probability, layers } = JSON.parse(json)
    const percent = (share: number) => `${(100 * share).toFixed(1)}%`
    expect(text).toContain(`" time": probability ${percent(probability)}; without each expert`)
    const rows = text.split('\n').filter((line) => /^ +\d /.test(line))
    for (const [i, row] of rows.slice(-4).entries()) {
      const cells = row.trim().split(/\s+/).slice(1)
      const expected = layers[i].experts.map(
        (one: { probability: number; chosen: boolean }) => percent(one.probability) + (one.chosen ? '*' : ''),
      )
      expect(cells).toEqual(expected)
    }
  })

  test.each([
    [['--answer', ' time', '--step'], 'leave out --step'],
    [['--answer', ' time', '--max-tokens', '3'], 'leave out --max-tokens'],
    [['--answer', ''], '--answer: has no tokens, expected some text'],
  ])('%j is refused', async (flags, message) => {
    const { code, stderr } = await run(...flags)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})
