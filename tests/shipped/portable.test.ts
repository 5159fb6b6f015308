import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { LOSS_TOLERANCE, lossDifferences, modelDir, readPin, trainedModels } from './pins.ts'

/** Plain JavaScript takes about 25 ms a token, so it gets a short document of each domain that has one. */
const BACKENDS = [
  { device: 'wasm', documents: 2, maxTokens: Number.POSITIVE_INFINITY },
  { device: 'js', documents: 1, maxTokens: 64 },
] as const
/** New tokens of a text that is short enough to be written here. */
const SHORT_TEXT = 24

describe.each(trainedModels())('%s', (name) => {
  const pin = readPin(name)

  describe.each(BACKENDS)('on $device', ({ device, documents, maxTokens }) => {
    let model: LoadedModel
    beforeAll(async () => {
      model = await loadModel(modelDir(name), { device })
    })
    afterAll(() => model.dispose())

    test('documents have the losses that they have on native CPU', async () => {
      const differences = await lossDifferences(model, pin, documents, maxTokens)
      expect(differences.length).toBeGreaterThanOrEqual(3)
      for (const difference of differences) expect(Math.abs(difference)).toBeLessThan(LOSS_TOLERANCE)
    })

    test.each(pin.texts.filter(({ tokens }) => tokens.length <= SHORT_TEXT))(
      'the $domain prompt gives the fixed text',
      async ({ prompt, tokens }) => {
        const written = await model.generate({ prompt, maxTokens: tokens.length }).done
        expect(written.tokens).toEqual(tokens)
      },
    )
  })
})
