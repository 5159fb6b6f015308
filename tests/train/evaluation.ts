import { pooled, proportion } from '../../src/eval/proportion.ts'
import type { EvalReport } from '../../src/eval/types.ts'
import { runtimeReport } from '../helpers/runtime-report.ts'

const half = proportion(1, 2)

/** An evaluation of full `moe` with numbers that are easily found again. */
export function exampleEvaluation(changes: Partial<EvalReport> = {}): EvalReport {
  const timing = {
    tokens: 128,
    context: 128,
    n: 9,
    medianMs: 20,
    p10Ms: 19,
    p90Ms: 21,
    tokensPerSecond: 6400,
  }
  const details = { documents: 9, tokens: 900, characters: 2000, standardError: 0.0125, bitsPerCharacter: 1 }
  return {
    format: 'tinymoe-eval',
    version: 1,
    date: '2026-01-01T00:00:00.000Z',
    seconds: 60,
    model: { name: 'moe', family: 'mixtral', layers: 4, vocabSize: 1024, mixtures: [] },
    split: 'heldout',
    samples: 100,
    seed: 1,
    domains: ['story', 'arithmetic'],
    loss: {
      mean: 0.5,
      byDomain: { story: 0.25, arithmetic: 0.75 },
      perplexity: 1.64872,
      bitsPerCharacter: 0.4321,
      details: { story: details, arithmetic: { ...details, standardError: null } },
    },
    exactMatch: { arithmetic: { plain: half } },
    wellFormed: { story: { story: proportion(3, 4) } },
    headline: {
      worked: { ...pooled([half, half]), forms: ['worked'] },
      plain: { ...half, forms: ['plain'] },
    },
    cost: {
      parameters: {
        total: 3_609_728,
        active: 1_250_432,
        totalWithoutEmbeddings: 3_347_584,
        activeWithoutEmbeddings: 988_288,
      },
      flopsPerToken: 2_498_560,
      flopContext: 128,
      flopParts: {
        attentionProjections: 393_216,
        attentionScores: 262_144,
        router: 8_192,
        experts: 1_572_864,
        sharedExperts: 0,
        unembedding: 262_144,
      },
      weightBytesPerToken: 4_477_952,
    },
    speed: { prefill: timing, decode: { ...timing, tokens: 1, tokensPerSecond: 321 } },
    experts: null,
    conditions: {
      runtime: { ...runtimeReport(), deviceName: 'a processor' },
      dtype: 'float32',
      executor: 'recorded',
      loadAverage: null,
    },
    facts: null,
    factExperts: null,
    notes: ['3 of 12 documents were cut'],
    ...changes,
  }
}
