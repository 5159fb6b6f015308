import { describe, expect, test } from 'vitest'
import { ALL_DOMAINS, DOMAINS, generateSample } from '../../src/corpus/index.ts'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts'
import { Batches } from '../../src/train/batches.ts'
import { modelCard, trainCommand } from '../../src/train/card.ts'
import { tokenizerOf } from '../../src/train/checkpoint.ts'
import { exposureSteps, FACTS, PORTRAIT_TOKENS } from '../../src/train/facts.ts'
import { trainSettings } from '../../src/train/settings.ts'
import { configOf } from '../../src/train/start.ts'
import { generatedTexts, type TextSource } from '../../src/train/texts.ts'
import { trainTokenizer } from '../../src/train/tokenizer.ts'
import { tinymoe } from '../cli/run-cli.ts'
import { exampleEvaluation } from './evaluation.ts'

const facts = { entities: 500, phrasings: 4, share: 0.7 }

test('facts have their share of the tokens, the other domains equal shares of the rest', () => {
  const { domains, weightOf } = generatedTexts(1, facts)
  expect(domains).toEqual(ALL_DOMAINS)
  expect(weightOf!('facts')).toBe(0.7)
  for (const domain of DOMAINS) expect(weightOf!(domain)).toBeCloseTo(0.05, 12)
})

test('small batches hold every domain to its share, by what stands in the rows', async () => {
  const lengths: Record<string, number> = { long: 140, middling: 90, short: 36 }
  const weights: Record<string, number> = { long: 0.2, middling: 0.1, short: 0.7 }
  const domains = Object.keys(lengths)
  const texts: TextSource = {
    description: '',
    domains,
    weightOf: (domain) => weights[domain],
    draw: (domain) => domain,
  }
  const encode = async (domain: string) => new Array(lengths[domain]).fill(10 + domains.indexOf(domain))
  for (const rows of [2, 8]) {
    const batches = new Batches(texts, { encode } as unknown as Tokenizer, { rows, length: 288 }, 1)
    const tokens: number[] = []
    for (let step = 0; step < 800 / rows; step++) tokens.push(...(await batches.training(step)).flat())
    const own = tokens.filter((token) => token >= 10)
    for (const [i, domain] of domains.entries()) {
      const share = own.filter((token) => token === 10 + i).length / own.length
      expect(Math.abs(share - weights[domain]), `${domain}, ${rows} rows`).toBeLessThan(0.07) // a row holds whole documents, the longest first
    }
  }
})

test('without facts, texts are what they were', () => {
  expect(generatedTexts(3)).toMatchObject({ domains: DOMAINS })
  expect(generatedTexts(3).weightOf).toBeUndefined()
})

describe('exposures', () => {
  test('are portraits of each entity: steps by hand', () => {
    const size = { entities: 1000, phrasings: 5, share: 0.5 }
    expect(exposureSteps(size, 100, { rows: 10, length: 100 })).toBe(
      Math.round((1000 * 100 * PORTRAIT_TOKENS) / 0.5 / 1000),
    )
  })

  test('count with the tokens that a portrait has in the tokenizer of the usual facts', async () => {
    const tokenizer = tokenizerOf(trainTokenizer(1, FACTS))
    const lengths = await Promise.all(
      Array.from({ length: 1000 }, async (_, index) => {
        const { text } = generateSample('facts', 'train', index, 3, FACTS)
        return 2 + (await tokenizer.encode(text, { addSpecialTokens: false })).length
      }),
    )
    const mean = lengths.reduce((a, b) => a + b, 0) / lengths.length
    expect(Math.abs(mean - PORTRAIT_TOKENS)).toBeLessThan(0.3)
  })
})

test('the card says how many facts, the command that repeats it, and what is recalled', () => {
  const settings = trainSettings({ preset: 'moe', size: 'small', steps: 500, facts })
  expect(trainCommand(settings)).toBe(
    'npm run train -- --preset moe --size small --steps 500 --seed 1 --facts 500x4 --facts-share 0.7',
  )
  const known = { correct: 30, total: 40, low: 0.6, high: 0.9 }
  const recall = {
    right: known,
    storedBits: 190,
    byAttribute: {},
    bitsAParameter: { total: 0.5, active: 1.25 },
  }
  const recitation = { ...recall, right: { ...known, correct: 36 } }
  const evaluation = exampleEvaluation({
    facts: { entities: 500, phrasings: 4, possibleBits: 19_000, recall, recitation },
  })
  const card = modelCard({
    settings,
    config: configOf(settings),
    texts: generatedTexts(1, facts),
    log: [],
    devices: ['cpu'],
    evaluation,
  })
  expect(card).toContain(
    'and facts of 500 entities. Batches hold 70.0 % facts and the other domains in equal shares.',
  )
  expect(card).toContain('--samples 100 --seed 1 --facts 500x4\n')
  expect(card).toContain(
    '75.0 % (30 of 40) right in words that no training text has for them, 90.0 % (36 of 40) in words that some have. 190 of 19,000 bits are stored, 0.50 a parameter and 1.25 an active one.',
  )
})

test.each<[flags: string[], message: string]>([
  [['--facts', '9', '--corpus', 'a.txt'], 'train takes either --corpus or --facts'],
  [['--exposures', '9'], '--exposures and --facts-share belong to --facts'],
  [['--facts', '--exposures', '9', '--steps', '9'], 'train takes one of --steps and --exposures'],
  [['--facts', '9x2'], 'Expected entities from 1 to 4096, such as 1000, or with phrasings from 3 to 5'],
  [['--facts', '--facts-share', '1'], 'Expected a number between 0 and 1'],
])('train %j is refused', async (flags, message) => {
  const { code, stderr } = await tinymoe('train', '--preset', 'moe', ...flags)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})
