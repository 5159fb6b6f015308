import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { type ModelConfig, type MoeConfig, mixtureAt, softmaxTopK } from '../../src/model/config.ts'
import { tokenizerOf } from '../../src/train/checkpoint.ts'
import { initWeights } from '../../src/train/initialize.ts'
import type { PresetName } from '../../src/train/presets.ts'
import { trainSettings } from '../../src/train/settings.ts'
import { generatedTexts } from '../../src/train/texts.ts'
import { type StepResult, Trainer } from '../../src/train/trainer.ts'
import { TINY, tinyTokenizer } from './tiny.ts'

const STEPS = 150
const EXPERTS = 4

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** A model of two layers of width 32 on the three domains with the shortest documents. */
function smallTrainer(preset: PresetName, config: ModelConfig): Trainer {
  const texts = { ...generatedTexts(1), domains: ['arithmetic', 'dates', 'code'] }
  const settings = trainSettings({
    preset,
    steps: STEPS,
    rows: 16,
    length: 64,
    peakLearningRate: 1e-2,
    biasRate: preset === 'deepseek' ? 0.01 : null,
  })
  const tokenizer = tokenizerOf(tinyTokenizer)
  return new Trainer(settings, config, initWeights(config, 1), texts, tokenizer)
}

function widened(config: ModelConfig, router: MoeConfig['router']): ModelConfig {
  const attention = { ...config.layers[0].attention, headDim: 16 }
  const feedForward: MoeConfig = { kind: 'moe', intermediateSize: 32, router }
  return { ...config, hiddenSize: 32, layers: new Array(2).fill({ attention, feedForward }) }
}

/** The preset, and the least and largest share of an expert that count as balanced; even is 0.25. A bias balances closely. */
const CASES: [preset: PresetName, balancing: string, config: ModelConfig, least: number, most: number][] = [
  ['moe', 'a loss', widened(TINY.mixtral, softmaxTopK(EXPERTS, 2)), 0.08, 0.5],
  ['deepseek', 'a bias', widened(TINY.glm4_moe, mixtureAt(TINY.glm4_moe, 1).router), 0.2, 0.3],
]

describe.each(CASES)('a very small %s model, balanced by %s', (preset, _, config, least, most) => {
  test('learns, and its experts stay balanced', async () => {
    const trainer = smallTrainer(preset, config)
    const before = (await trainer.validate()).validation
    let last: StepResult[] = []
    for (let i = 0; i < STEPS; i++) last = [...last.slice(-19), await trainer.train()]
    const after = (await trainer.validate()).validation
    trainer.dispose()
    expect(before).toBeGreaterThan(5.5) // log 300 = 5.7
    expect(after).toBeLessThan(1.8)
    for (let layer = 0; layer < 2; layer++) {
      for (let e = 0; e < EXPERTS; e++) {
        const share = last.reduce((sum, { load }) => sum + load[layer][e], 0) / last.length
        expect(share, `expert ${e} of layer ${layer}`).toBeGreaterThan(least)
        expect(share, `expert ${e} of layer ${layer}`).toBeLessThan(most)
      }
    }
  })
})
