import { describe, expect, test } from 'vitest'
import {
  coactivation,
  layerStatistics,
  loadBalanceLoss,
  maxViolation,
  normalisedLoadEntropy,
  routingAgreement,
  utilisation,
  weightShares,
} from '../../src/trace/statistics.ts'
import { layerOf, rowsOf, smallTrace } from './traces.ts'

/** Two tokens, E = 4, K = 2, every expert once, even scores. */
const balanced = layerOf({
  scores: [
    [0.25, 0.25, 0.25, 0.25],
    [0.25, 0.25, 0.25, 0.25],
  ],
  experts: [
    [0, 1],
    [2, 3],
  ],
})

/** Two tokens, E = 4, K = 1, all to expert 2 with certainty. */
const collapsed = layerOf({
  scores: [
    [0, 0, 1, 0],
    [0, 0, 1, 0],
  ],
  experts: [[2], [2]],
})

describe('load-balance loss', () => {
  test('is 1 when balanced, and E when one expert gets everything', () => {
    expect(loadBalanceLoss(balanced)).toBe(1)
    expect(loadBalanceLoss(collapsed)).toBe(4)
  })

  test('is E times the sum of load share and mean score share', () => {
    // f = (2, 2, 1, 1) / 6; P = (0.875, 0.875, 0.75, 0.5) / 3; 4 (2 * 0.875 + 2 * 0.875 + 0.75 + 0.5) / 18 = 19 / 18
    expect(loadBalanceLoss(smallTrace().layers[0])).toBeCloseTo(19 / 18, 12)
  })

  test('leaves dropped assignments out: f sums to 1 over the rest', () => {
    // f = (2, 2, 1, 0) / 5; P = (1.5, 0.625, 0.5, 0.375) / 3; 4 (3 + 1.25 + 0.5) / 15
    expect(loadBalanceLoss(smallTrace().layers[1])).toBeCloseTo(19 / 15, 12)
  })

  test('takes scores that do not sum to one (sigmoid) as shares of their sum', () => {
    const sigmoid = layerOf({ scores: [[0.5, 0.5, 0.75, 0.25]], experts: [[2]] })
    expect(loadBalanceLoss(sigmoid)).toBeCloseTo(4 * (0.75 / 2), 12)
  })

  test('takes logits, where a router compares logits, by their softmax', () => {
    const logits = layerOf({
      scores: [[Math.log(6), Math.log(0.5), Math.log(1), Math.log(0.5)]],
      experts: [[0]],
    })
    expect(loadBalanceLoss(logits)).toBeCloseTo(4 * (6 / 8), 6)
  })
})

describe('load', () => {
  test('utilisation is the share of assignments, without the dropped', () => {
    expect(utilisation(smallTrace().layers[0])).toEqual([2 / 6, 2 / 6, 1 / 6, 1 / 6])
    expect(utilisation(smallTrace().layers[1])).toEqual([2 / 5, 2 / 5, 1 / 5, 0])
  })

  test('MaxVio is 0 when balanced, E - 1 for one expert, else the excess over the mean', () => {
    expect(maxViolation(balanced)).toBe(0)
    expect(maxViolation(collapsed)).toBe(3)
    expect(maxViolation(smallTrace().layers[0])).toBeCloseTo((2 - 1.5) / 1.5, 12)
  })

  test('normalised entropy is 1 when balanced and 0 for one expert', () => {
    expect(normalisedLoadEntropy(balanced)).toBeCloseTo(1, 12)
    expect(normalisedLoadEntropy(collapsed)).toBe(0)
    // f = (1/2, 1/2, 0, 0): ln 2 / ln 4
    const half = layerOf({ scores: balancedScores(2), experts: [[0], [1]] })
    expect(normalisedLoadEntropy(half)).toBeCloseTo(0.5, 12)
  })

  test('all assignments dropped, and a single expert, are no division by zero', () => {
    const nobody = layerOf({ scores: balancedScores(1), experts: [[-1]] })
    expect([loadBalanceLoss(nobody), maxViolation(nobody), normalisedLoadEntropy(nobody)]).toEqual([0, 0, 0])
    const single = layerOf({ scores: [[1]], experts: [[0]] })
    expect([loadBalanceLoss(single), maxViolation(single), normalisedLoadEntropy(single)]).toEqual([1, 0, 1])
  })
})

test('co-activation is N_ij / N_i', () => {
  const layer = layerOf({
    scores: balancedScores(4),
    experts: [
      [0, 1],
      [0, 2],
      [1, 0],
      [0, -1],
    ],
  })
  // expert 0 has four tokens: two with 1, one with 2, one alone because the other was dropped
  expect(coactivation(layer)).toEqual([
    [1, 0.5, 0.25, 0],
    [1, 1, 0, 0],
    [1, 0, 1, 0],
    [0, 0, 0, 0],
  ])
})

describe('routing agreement', () => {
  const layer = layerOf({
    scores: balancedScores(4),
    experts: [
      [0, 1],
      [1, 0],
      [1, 2],
      [3, 0],
    ],
  })

  test('is the mean overlap of successive tokens: (2/2 + 1/2 + 0/2) / 3', () => {
    expect(routingAgreement(layer, rowsOf(4))).toBe(0.5)
  })

  test('does not cross from one sequence to the next', () => {
    expect(routingAgreement(layer, [...rowsOf(2), ...rowsOf(2, 1)])).toBe((1 + 0) / 2)
  })

  test('is null without two successive tokens', () => {
    expect(
      routingAgreement(
        layer,
        rowsOf(4).map((row) => ({ ...row, position: 2 * row.position })),
      ),
    ).toBeNull()
  })

  test('a dropped assignment agrees with nobody', () => {
    const dropped = layerOf({
      scores: balancedScores(2),
      experts: [
        [0, -1],
        [0, -1],
      ],
    })
    expect(routingAgreement(dropped, rowsOf(2))).toBe(0.5)
  })
})

test('a layer in numbers: experts used, mean margin over those that have one, mean entropy, dropped', () => {
  const { rows, layers } = smallTrace()
  expect(layerStatistics(layers[1], rows)).toMatchObject({
    layer: 1,
    expertsUsed: 3,
    meanMargin: 0.125,
    meanEntropy: Math.fround(Math.log(4)),
    dropped: 1,
  })
  expect(layerStatistics(balanced, rowsOf(2)).dropped).toBe(0)
  expect(layerStatistics({ ...balanced, margins: [null, null] }, rowsOf(2)).meanMargin).toBeNull()
})

test('weights as shares of the largest; dropped and zero ones are 0', () => {
  const weights = [
    [0.5, 0.25],
    [0, 0.4],
    [0, 0],
  ]
  const layer = layerOf({ scores: balancedScores(3), experts: weights.map(() => [0, 1]), weights })
  expect([0, 1, 2].map((t) => weightShares(layer, t))).toEqual([
    [1, 0.5],
    [0, 1],
    [0, 0],
  ])
})

function balancedScores(T: number): number[][] {
  return Array.from({ length: T }, () => [0.25, 0.25, 0.25, 0.25])
}
