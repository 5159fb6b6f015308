import { describe, expect, test } from 'vitest'
import { findPublished } from '../../src/cost/find-published.ts'
import { curveLines, textBar } from '../../src/cost/picture.ts'
import { publishedShape } from '../../src/cost/published.ts'
import { impliedElasticity, rebound, reboundCurve } from '../../src/cost/rebound.ts'
import { DEEPSEEK_V3, H800_PEAK, leftOut, r1Hours } from '../../src/cost/report.ts'
import { curvePicture } from '../../src/cost/svg.ts'
import { type TrainingRun, trainingCost, trainingFlops } from '../../src/cost/training.ts'

const { pretraining, contextExtension, postTraining } = DEEPSEEK_V3.hours
const RUN: TrainingRun = {
  active: 37e9,
  total: 671e9,
  tokens: DEEPSEEK_V3.tokens,
  pretrainingHours: pretraining,
  hours: pretraining + contextExtension + postTraining,
  price: DEEPSEEK_V3.price,
  peak: H800_PEAK,
  attentionPerToken: null,
}

describe('DeepSeek-V3, from FLOPs to dollars', () => {
  const cost = trainingCost(RUN)

  // DeepSeek-V3 report, table 1
  test('2.788M hours at $2 are $5.576M', () => {
    expect(RUN.hours).toBe(2_788_000)
    expect(cost.dollars).toBe(5_576_000)
    expect(cost.pretrainingDollars).toBe(5_328_000)
  })

  // "180K H800 GPU hours" for each trillion tokens
  test('the hours of a trillion tokens', () => {
    expect(RUN.pretrainingHours / 14.8).toBeCloseTo(180_000, -1)
  })

  test('6 N D and the utilisation it means, by hand', () => {
    expect(cost.weightFlops).toBe(6 * 37e9 * 14.8e12)
    expect(cost.flopsPerSecond / 1e12).toBeCloseTo(342.59, 2)
    expect(cost.utilisation.bfloat16).toBeCloseTo(0.3462, 4)
    expect(cost.utilisation.fp8).toBeCloseTo(0.1731, 4)
    expect(cost.hoursAtPeak).toBeCloseTo(cost.utilisation.bfloat16 * pretraining, 6)
  })

  test('the same model dense takes total by active times the hours', () => {
    expect(cost.dense.timesFlops).toBeCloseTo(671 / 37, 12)
    expect(cost.dense.pretrainingHours).toBeCloseTo((pretraining * 671) / 37, 3)
    expect(cost.dense.pretrainingDollars).toBeCloseTo(2 * cost.dense.pretrainingHours, 6)
  })

  test('attention, which sparsity leaves alone, makes the difference smaller', () => {
    const shape = publishedShape(findPublished(DEEPSEEK_V3.model)!)
    const { attentionScores } = trainingFlops(shape, 4096, 'causal')
    // 61 layers, 128 heads, 192 + 128 wide, 2048.5 keys on average; three times forward
    expect(attentionScores / 4096).toBe(3 * 61 * 2 * 128 * 320 * 2048.5)
    const attended = trainingCost({ ...RUN, attentionPerToken: attentionScores / 4096 })
    expect(attended.utilisationWithAttention?.bfloat16).toBeCloseTo(0.3941, 4)
    expect(attended.dense.timesFlops).toBeLessThan(cost.dense.timesFlops)
    expect(trainingCost(RUN).utilisationWithAttention).toBeNull()
  })

  test('R1 on top: 512 GPUs for 278 hours and 5,000 hours of data are $294,672', () => {
    expect(r1Hours()).toBe(147_336)
    const items = leftOut(2)
    expect(items[0].dollars).toBe(294_672)
    expect(items.slice(1).map(({ dollars }) => dollars)).toEqual([null, null])
  })
})

describe('rebound', () => {
  test('spend is price times use', () => {
    for (const f of [1, 1.5, 10, 100]) {
      for (const e of [0, 0.3, 1, 2.5]) {
        const { use, spend } = rebound(f, e)
        expect(spend).toBeCloseTo(use / f, 10)
      }
    }
  })

  test('breaks even at 1, whatever the factor; less below, more above', () => {
    for (const f of [1.01, 2, 18, 1000]) {
      expect(rebound(f, 1).spend).toBe(1)
      expect(rebound(f, 0.99).spend).toBeLessThan(1)
      expect(rebound(f, 1.01).spend).toBeGreaterThan(1)
    }
  })

  test('the elasticity that a seen growth means gives that growth', () => {
    expect(rebound(10, impliedElasticity(10, 30)!).use).toBeCloseTo(30, 9)
    expect(impliedElasticity(10, 10)).toBe(1)
    expect(impliedElasticity(1, 3)).toBeNull()
  })

  test('the curve runs from no rebound to the last elasticity', () => {
    const curve = reboundCurve(4, 2, 4)
    expect(curve.map(({ elasticity }) => elasticity)).toEqual([0, 0.5, 1, 1.5, 2])
    expect(curve.map(({ spend }) => spend)).toEqual([0.25, 0.5, 1, 2, 4])
  })
})

describe('pictures', () => {
  test('a bar is as long as its share, and never nothing', () => {
    expect(textBar(1, 4)).toBe('████')
    expect(textBar(0.5, 4)).toBe('██')
    expect(textBar(0.28, 4)).toBe('█▏')
    expect(textBar(1e-9, 4)).toBe('▏')
    expect(textBar(0, 4)).toBe('')
  })

  test('the curve passes through the break-even in the middle', () => {
    const lines = curveLines(reboundCurve(16, 2, 96), [rebound(16, 1.5)])
    const middle = lines[6]
    expect(middle).toMatch(/^ +x1 \|-+\**\+\**-+$/)
    expect(middle.indexOf('+') - middle.indexOf('|') - 1).toBe(24) // 1 of 0 to 2 over 49 columns
    expect(lines.filter((line) => line.includes('o'))).toHaveLength(1)
    expect(lines.findIndex((line) => line.includes('o'))).toBe(3) // a quarter from the top: x4 of x16
  })

  test('of a price that does not move is flat', () => {
    const lines = curveLines(reboundCurve(1, 2, 96), [rebound(1, 1)])
    expect(lines.filter((line) => line.includes('*'))).toHaveLength(1)
    expect(curvePicture(reboundCurve(1, 2, 4), [rebound(1, 1)], 1)).not.toContain('NaN')
  })
})
