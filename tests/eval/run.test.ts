import { rmSync } from 'node:fs'
import { basename } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { evalText } from '../../src/cli/eval-text.ts'
import { countParameters, flopsPerToken, totalFlops, weightBytesPerToken } from '../../src/cost/index.ts'
import { documentsOf, TextCodec } from '../../src/eval/documents.ts'
import { proportion } from '../../src/eval/proportion.ts'
import { type EvalOptions, evaluate } from '../../src/eval/run.ts'
import { measureSpeed, speedTokens } from '../../src/eval/speed.ts'
import type { EvalReport } from '../../src/eval/types.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { randomModel } from '../helpers/random.ts'
import { projectCodec, V } from './oracle.ts'
import { tinyModel } from './tiny-model.ts'

const OPTIONS: EvalOptions = { samples: 2, seed: 3, domains: ['code', 'arithmetic'], split: 'validation' }

let dir: string
let model: LoadedModel
let report: EvalReport
const shares: number[] = []

beforeAll(async () => {
  dir = tinyModel()
  model = await loadModel(dir, { device: 'cpu', executor: 'eager' })
  report = await evaluate(model, { ...OPTIONS, experts: true }, { onProgress: (share) => shares.push(share) })
})

afterAll(() => {
  model.dispose()
  rmSync(dir, { recursive: true })
})

describe('a report', () => {
  test('says what was evaluated on what', async () => {
    expect(report).toMatchObject({
      format: 'tinymoe-eval',
      version: 1,
      model: { name: basename(dir), family: 'mixtral', layers: 1, vocabSize: V },
      split: 'validation',
      samples: 2,
      seed: 3,
      domains: ['arithmetic', 'code'],
      experts: { layers: [{ layer: 0, numExperts: 4, topK: 2 }] },
      notes: ['2 of 4 documents were cut: the model has 96 positions'],
      conditions: { dtype: 'float32', executor: 'eager', runtime: { device: 'cpu' } },
    })
    expect(report.model.mixtures).toEqual([{ numExperts: 4, topK: 2 }])
    expect(JSON.parse(JSON.stringify(report))).toEqual(report)
  })

  test('has the loss of the definition: one document at a time, from its own beginning', async () => {
    const codec = new TextCodec(model.dir, model.config, model.tokenizer)
    for (const domain of report.domains) {
      const documents = await documentsOf(codec, [domain], { split: 'validation', seed: 3 }, 2)
      let [nats, tokens, characters] = [0, 0, 0]
      for (const document of documents) {
        expect(document.tokens[0]).toBe(1)
        if (!document.cut) expect(document.tokens.at(-1)).toBe(2)
        nats += lossAlone(document.tokens)
        tokens += document.tokens.length - 1
        characters += document.characters
      }
      expect(report.loss.byDomain[domain]).toBeCloseTo(nats / tokens, 4)
      expect(report.loss.details[domain]).toMatchObject({ documents: 2, tokens, characters })
    }
    // random weights know nothing: about ln 1024 = 6.93
    expect(Math.abs(report.loss.mean - Math.log(V))).toBeLessThan(1)
  })

  test('asks two questions of each form, which random weights get wrong', async () => {
    expect(Object.keys(report.exactMatch)).toEqual(['arithmetic', 'code'])
    expect(Object.keys(report.exactMatch.arithmetic!)).toHaveLength(6)
    const { correct, total } = report.exactMatch.arithmetic!['worked-3']
    expect([correct, total]).toEqual([0, 2])
    expect(report.headline).toMatchObject({
      worked: { total: 4, forms: ['worked', 'question'] },
      plain: { total: 2, forms: ['plain'] },
    })
    expect(report.wellFormed).toEqual({ code: { program: proportion(0, 1) } })
  })

  test('has the cost of the formulas', async () => {
    const { parts: _, ...parameters } = countParameters(model.config)
    expect(report.cost.parameters).toEqual(parameters)
    expect(report.cost.flopsPerToken).toBe(totalFlops(flopsPerToken(model.config, 96, 'sparse')))
    expect(report.cost.weightBytesPerToken).toBe(weightBytesPerToken(model.config))
  })

  test('shows progress from 0 to 1', async () => {
    expect(shares).toEqual([...shares].sort((a, b) => a - b))
    expect(shares.at(-1)).toBeCloseTo(1, 10)
  })

  test('is the same again, but for the time', async () => {
    const before = tf.memory().numTensors
    const again = await evaluate(model, OPTIONS)
    expect(tf.memory().numTensors).toBe(before)
    const { loss, exactMatch } = report
    expect({ loss: again.loss, exactMatch: again.exactMatch }).toEqual({ loss, exactMatch })
    expect(again.experts).toBeNull() // not asked for this time
  })

  test('reads well: every part, with its conditions', async () => {
    const text = evalText(report)
    for (const part of [
      /^Model tinymoe-eval-\w+ \(mixtral, 1 layer\), split validation, 2 samples, seed 3\n/,
      /\nmean of domains +\d\.\d{4} +\d\.\d{4}\nperplexity \d+\.\d{3}\n/,
      /\narithmetic +worked-3 +0\.0% +0\/2 +0\.0% \.\. 65\.8%\n/,
      /\n2-digit sums, unseen pairs \(validation\): with working \(worked, question\) \d+\.\d% \(\d\/4, 95 % interval .+\)\n/,
      /\n +without \(plain\) \d+\.\d% \(\d\/2, 95 % interval .+\)\n/,
      /\ncode +program +0\.0% +0\/1 /,
      /\nparameters: [\d,]+, active a token [\d,]+ /,
      /\nprefill: \d+ tokens\/s \(64 tokens: median .+\)\ndecode: +\d+ tokens\/s \(1 token, 80 keys in sight: .+\)\n/,
      /\nfloat32, executor eager, load average before \S+\n/,
      /\ndead experts \(less than 2\.0% of their layer's assignments\): /,
      /\nLayer 0: share of assignments; share of each domain's tokens \(no preference: 50\.0%\); .+\n/,
      /\nLayer 0: loss with the expert disabled less the intact loss, nats a token\n/,
      /\nnote: 2 of 4 documents were cut: the model has 96 positions\n/,
      /\n\d+ s in all\n$/,
    ]) {
      expect(text).toMatch(part)
    }
  })

  test('names the dead experts', async () => {
    const [layer] = report.experts!.layers
    const experts = { ...report.experts!, layers: [{ ...layer, load: { ...layer.load, dead: [1, 3] } }] }
    const text = evalText({ ...report, experts })
    expect(text).toContain('assignments): layer 0: 1, 3\n')
    expect(text).toMatch(/\n3 dead +\d/)
  })
})

function lossAlone(tokens: number[]): number {
  const { logits } = model.forward(tokens.slice(0, -1))
  const losses = tf.tidy(() => tf.sum(tf.mul(tf.logSoftmax(logits), tf.oneHot(tokens.slice(1), V))))
  logits.dispose()
  const [value] = losses.dataSync()
  losses.dispose()
  return -value
}

test.each<[message: string, options: EvalOptions]>([
  ['samples: is 0, expected a whole number from 1', { samples: 0 }],
  [
    'domains: are [poems], expected some of story, arithmetic, code, german, data, dates',
    { domains: ['poems' as never] },
  ],
])('%s', async (message, options) => {
  await expect(evaluate(model, options)).rejects.toThrow(message)
})

test('speed is that of the given tokens: a prompt, then one by one behind it', async () => {
  const small = randomModel({ V, D: 8, H: 8, layers: 1 })
  const codec = await projectCodec()
  const tokens = await speedTokens(codec, 'dates', { split: 'heldout', seed: 1 }, 256)
  expect(tokens).toHaveLength(160)
  const before = tf.memory().numTensors
  const { prefill, decode } = await measureSpeed(small, tokens)
  expect(tf.memory().numTensors).toBe(before)
  expect([prefill.tokens, prefill.context, decode.tokens, decode.context]).toEqual([128, 128, 1, 144])
  expect(prefill.n).toBeGreaterThanOrEqual(3)
  expect(decode.n).toBe(32 * prefill.n)
  for (const { tokens: count, medianMs, p10Ms, p90Ms, tokensPerSecond } of [prefill, decode]) {
    expect(p10Ms).toBeLessThanOrEqual(medianMs)
    expect(medianMs).toBeLessThanOrEqual(p90Ms)
    expect(tokensPerSecond).toBeCloseTo((1000 * count) / medianMs, 6)
  }
  expect(await speedTokens(codec, 'dates', { split: 'heldout', seed: 1 }, 20)).toHaveLength(20)
  small.dispose()
})
