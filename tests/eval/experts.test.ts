import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { DOMAINS } from '../../src/corpus/index.ts'
import { startRuntime } from '../../src/device/index.ts'
import { disabledLosses } from '../../src/eval/disabled.ts'
import type { Document } from '../../src/eval/documents.ts'
import { expertsReport } from '../../src/eval/experts.ts'
import { documentLosses } from '../../src/eval/loss.ts'
import { layerSpecialisation, type RoutedToken, tokenShares } from '../../src/eval/specialisation.ts'
import { maxViolation } from '../../src/trace/statistics.ts'
import { randomModel, randomNumbers, randomTokens } from '../helpers/random.ts'
import { layerOf } from '../trace/traces.ts'
import { projectCodec, V } from './oracle.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const textOf = (token: number) => `<${token}>`

/** Sixty tokens of two documents: expert 0 takes the stories, 1 the code, 2 half of both, 3 one token only. */
function sortedRouting() {
  const tokens: RoutedToken[] = Array.from({ length: 120 }, (_, t) => ({
    token: t % 3,
    document: t < 60 ? 0 : 1,
    domain: t < 60 ? 'story' : 'code',
  }))
  const experts = tokens.map(({ domain }, t) => [domain === 'story' ? 0 : 1, t === 7 ? 3 : 2])
  const layer = layerOf({ scores: tokens.map(() => [0.4, 0.3, 0.2, 0.1]), experts })
  return { layer, tokens }
}

describe('what a trace says of experts', () => {
  test('shares of tokens, information, load, and the dead one', () => {
    const { layer, tokens } = sortedRouting()
    const result = layerSpecialisation(layer, tokens, textOf)
    expect(result.tokenShare.story).toEqual([1, 0, 59 / 60, 1 / 60])
    expect(result.tokenShare.code).toEqual([0, 1, 1, 0])
    expect(result.baseline).toBe(0.5)
    expect(result.load.shares).toEqual([60 / 240, 60 / 240, 119 / 240, 1 / 240])
    expect(result.load.dead).toEqual([3])
    expect(result.load.least).toEqual({ expert: 3, share: 1 / 240 })
    expect(result.load.most).toEqual({ expert: 2, share: 119 / 240 })
    expect(result.load.maxViolation).toBeCloseTo(maxViolation(layer), 12)
    // E sum f P with f the shares above and P = 0.4, 0.3, 0.2, 0.1
    expect(result.load.loadBalanceLoss).toBeCloseTo((4 * (60 * 0.4 + 60 * 0.3 + 119 * 0.2 + 0.1)) / 240, 6)
    // half of the assignments tell the domain, the others next to nothing
    expect(result.mutualInformation!.plugInBits).toBeCloseTo(0.5, 1)
    expect(result.mutualInformation!.kindEntropyBits).toBe(1)
  })

  test('tokens above chance by lift, the frequent first, rare ones left out', () => {
    const tokens: RoutedToken[] = Array.from({ length: 100 }, (_, t) => ({
      token: t < 40 ? 5 : t < 60 ? 6 : t < 79 ? 7 : 8,
      document: t,
      domain: 'data',
    }))
    // 5 always goes to expert 0, 6 half the time, 7 (19 times) always, 8 (21 times) never
    const experts = tokens.map(({ token }, t) => [
      token === 5 || token === 7 || (token === 6 && t % 2) ? 0 : 1,
    ])
    const layer = layerOf({ scores: tokens.map(() => [0.5, 0.5]), experts })
    const { typicalTokens, mutualInformation } = layerSpecialisation(layer, tokens, textOf)
    const toFirst = (40 + 19 + 10) / 100
    expect(typicalTokens[0]).toEqual([{ token: 5, text: '<5>', count: 40, share: 1, lift: 1 / toFirst }])
    expect(typicalTokens[1].map(({ token, share }) => [token, share])).toEqual([
      [8, 1],
      [6, 0.5],
    ])
    expect(mutualInformation).toBeNull() // a single domain
  })

  test('shares of tokens are what counting gives, and a domain has K in all', () => {
    const next = randomNumbers(4)
    const [E, K] = [5, 2]
    const tokens: RoutedToken[] = Array.from({ length: 300 }, (_, t) => ({
      token: 0,
      document: t,
      domain: DOMAINS[Math.floor(((next() + 1) / 2) * 6)],
    }))
    const experts = tokens.map(() => {
      const first = Math.floor(((next() + 1) / 2) * E)
      return [first, (first + 1) % E]
    })
    const shares = tokenShares(layerOf({ scores: tokens.map(() => new Array(E).fill(0.2)), experts }), tokens)
    for (const domain of DOMAINS) {
      const own = experts.filter((_, t) => tokens[t].domain === domain)
      const counted = Array.from(
        { length: E },
        (_, e) => own.filter((pair) => pair.includes(e)).length / own.length,
      )
      expect(shares[domain]).toEqual(counted)
      expect(shares[domain]!.reduce((a, b) => a + b, 0)).toBeCloseTo(K, 10)
    }
  })
})

describe('losses with an expert disabled', () => {
  test('are those of a forward with that intervention, less the intact ones', async () => {
    const model = randomModel({ V: 40, E: 3, K: 2 })
    const documents: Document[] = [6, 11, 4].map((length, i) => ({
      domain: i === 1 ? 'code' : 'dates',
      tokens: randomTokens(length, 40, i + 1),
      characters: 1,
    }))
    const intact = await documentLosses(model, documents)
    const before = tf.memory().numTensors
    const results = (await disabledLosses(model, documents, intact, 1))!
    expect(tf.memory().numTensors).toBe(before)
    expect(results.map(({ expert }) => expert)).toEqual([0, 1, 2])
    for (const { expert, byDomain, mean, standardError } of results) {
      const difference = ({ tokens }: Document) =>
        lossOf(tokens, { disable: [{ expert, layer: 1 }] }) - lossOf(tokens)
      const [first, second, third] = documents.map(difference)
      expect(byDomain.code).toBeCloseTo(second / 10, 4)
      expect(byDomain.dates).toBeCloseTo((first + third) / 8, 4)
      expect(mean).toBeCloseTo((byDomain.code! + byDomain.dates!) / 2, 10)
      expect(standardError.code).toBeNull()
      expect(standardError.dates).toBeGreaterThan(0)
    }
    function lossOf(tokens: number[], interventions?: object): number {
      const { logits } = model.forward(tokens.slice(0, -1), { interventions })
      const loss = tf.tidy(() =>
        tf.losses.softmaxCrossEntropy(tf.oneHot(tokens.slice(1), 40), logits, 1, 0).dataSync(),
      )
      logits.dispose()
      return loss[0] * (tokens.length - 1)
    }
    model.dispose()
  })

  test('are null where every expert is needed', async () => {
    const model = randomModel({ V: 40, E: 2, K: 2, layers: 1 })
    const documents: Document[] = [{ domain: 'code', tokens: [1, 2, 3], characters: 1 }]
    expect(await disabledLosses(model, documents, [1], 0)).toBeNull()
    model.dispose()
  })
})

test('a whole report: equal tokens of each domain, every layer and expert, no tensor left', async () => {
  const model = randomModel({ V, E: 3, K: 1, layers: 2, D: 8, H: 8 })
  const codec = await projectCodec({ maxPositionEmbeddings: 256 })
  const before = tf.memory().numTensors
  const shares: number[] = []
  const report = await expertsReport(
    model,
    codec,
    ['arithmetic', 'dates'],
    { split: 'heldout', seed: 1 },
    2,
    { onShare: (share) => shares.push(share) },
  )
  expect(tf.memory().numTensors).toBe(before)
  for (const domain of ['arithmetic', 'dates'] as const) {
    const { [domain]: documents } = report.documents
    expect(report.tokens[domain]! + documents!).toBeGreaterThanOrEqual(128) // the last token of each is not routed
    expect(report.tokens[domain]).toBeLessThan(180)
    expect(report.disabledTokens[domain]).toBeGreaterThanOrEqual(20)
    expect(report.disabledTokens[domain]).toBeLessThan(80)
  }
  expect(report.layers.map(({ layer, disabled }) => [layer, disabled!.length])).toEqual([
    [0, 3],
    [1, 3],
  ])
  for (const { load, tokenShare, mutualInformation } of report.layers) {
    expect(load.shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 10)
    expect(tokenShare.dates!.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 10)
    expect(mutualInformation!.kindEntropyBits).toBeCloseTo(1, 2)
  }
  expect(shares.at(-1)).toBeCloseTo(1, 10)
  expect(shares).toEqual([...shares].sort((a, b) => a - b))
  model.dispose()
})
