import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEAD_SHARE } from '../../src/eval/specialisation.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { maxDifference } from '../helpers/golden.ts'
import {
  LOSS_TOLERANCE,
  lossDifferences,
  MIN_MARGIN,
  measurePin,
  modelDir,
  type Pin,
  readPin,
  trainedModels,
} from './pins.ts'

/** Takes ten seconds, and minutes where all processors have other work. */
const PATIENCE_MS = 600_000

describe.each(trainedModels())('%s on native CPU', (name) => {
  const pin = readPin(name)

  describe('eager', () => {
    let measured: Pin
    beforeAll(async () => {
      const model = await loadModel(modelDir(name), { device: 'cpu', executor: 'eager' })
      measured = await measurePin(model)
      model.dispose()
    }, PATIENCE_MS)

    test('the fixed prompts give the fixed texts', () => {
      const withoutMargin = ({ texts }: Pin) => texts.map(({ margin, ...text }) => text)
      expect(withoutMargin(measured)).toEqual(withoutMargin(pin))
    })

    test('no word of them hangs on rounding', () => {
      for (const { margin } of measured.texts) expect(margin).toBeGreaterThan(MIN_MARGIN)
    })

    test('documents have their losses', () => {
      expect(Object.keys(measured.losses)).toEqual(Object.keys(pin.losses))
      for (const [domain, { mean, documents }] of Object.entries(measured.losses)) {
        const expected = pin.losses[domain as keyof Pin['losses']]!
        expect(Math.abs(mean - expected.mean), domain).toBeLessThan(LOSS_TOLERANCE)
        expect(documents).toHaveLength(expected.documents.length)
      }
    })

    test('no expert is dead, and loads are as pinned', () => {
      expect(maxDifference(measured.leastShares, pin.leastShares)).toBeLessThan(2e-3)
      for (const share of measured.leastShares) expect(share).toBeGreaterThan(DEAD_SHARE)
    })

    test('as many unseen sums are right as pinned, for moe nine in ten', () => {
      const { correct, total } = measured.sums
      expect(total).toBe(pin.sums.total)
      expect(Math.abs(correct - pin.sums.correct)).toBeLessThanOrEqual(1) // a near tie may go the other way
      if (name === 'moe') expect(correct).toBeGreaterThanOrEqual(0.9 * total)
    })
  })

  describe('recorded', () => {
    let model: LoadedModel
    beforeAll(async () => {
      model = await loadModel(modelDir(name), { device: 'cpu', executor: 'recorded' })
    })
    afterAll(() => model.dispose())

    test.each(pin.texts)('the $domain prompt gives the fixed text', async ({ prompt, tokens, text }) => {
      const written = await model.generate({ prompt, maxTokens: tokens.length }).done
      expect(written.tokens).toEqual(tokens)
      expect(written.text).toBe(text)
    })

    test('documents have their losses', async () => {
      for (const difference of await lossDifferences(model, pin, 2))
        expect(Math.abs(difference)).toBeLessThan(LOSS_TOLERANCE)
    })
  })
})
