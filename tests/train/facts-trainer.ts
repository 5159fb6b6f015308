import type { FactsSize } from '../../src/corpus/facts/world.ts'
import { corpus, generateSample } from '../../src/corpus/index.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { trainBpe } from '../../src/text/bpe.ts'
import { tokenizerOf } from '../../src/train/checkpoint.ts'
import { initWeights } from '../../src/train/initialize.ts'
import { trainSettings } from '../../src/train/settings.ts'
import type { TextSource } from '../../src/train/texts.ts'
import { SPECIAL_TOKENS } from '../../src/train/tokenizer.ts'
import { Trainer } from '../../src/train/trainer.ts'
import { TINY } from './tiny.ts'

const V = 300

/** A mixture of two layers of width 32 that was trained on portraits alone, some 200 times each where entities are nine. */
export async function trainedOnFacts(size: FactsSize, steps = 260) {
  const texts = Array.from(corpus({ split: 'train', seed: 1, chars: 40_000, mix: { facts: 1 }, facts: size }))
  const tokenizerJson = trainBpe(
    texts.map(({ text }) => text),
    { vocabSize: V, specialTokens: SPECIAL_TOKENS, individualDigits: true },
  )
  const tokenizer = tokenizerOf(tokenizerJson)
  const source: TextSource = {
    description: 'facts',
    domains: ['facts'],
    draw: (_, split, random) => generateSample('facts', split, random.int(0, 1e6), 1, size).text,
  }
  const [{ attention }] = TINY.mixtral.layers
  const layer = {
    attention: { ...attention, headDim: 16 },
    feedForward: { kind: 'moe' as const, intermediateSize: 32, router: softmaxTopK(4, 2) },
  }
  const config = { ...TINY.mixtral, vocabSize: V, hiddenSize: 32, layers: [layer, layer] }
  const settings = trainSettings({ preset: 'moe', steps, rows: 8, length: 63, peakLearningRate: 1e-2 })
  const trainer = new Trainer(settings, config, initWeights(config, 1), source, tokenizer)
  for (let step = 0; step < steps; step++) await trainer.train()
  return { trainer, tokenizer, tokenizerJson }
}
