import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type MatrixError, quantizeModel } from '../../src/checkpoint/quantize.ts'
import { ALL_DOMAINS } from '../../src/corpus/index.ts'
import { startRuntime } from '../../src/device/index.ts'
import { documentsOf, TextCodec } from '../../src/eval/documents.ts'
import { factQuestions } from '../../src/eval/facts.ts'
import { documentLosses, lossReport } from '../../src/eval/loss.ts'
import { compareQuantized } from '../../src/eval/quantized.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { mean, sum } from '../../src/sums.ts'
import { saveModel } from '../../src/train/checkpoint.ts'
import { trainedOnFacts } from '../train/facts-trainer.ts'

const FACTS = { entities: 9, phrasings: 5 }
const folder = mkdtempSync(join(tmpdir(), 'compare-quantized-'))
let errors: MatrixError[]
let original: LoadedModel
let quantized: LoadedModel
let codec: TextCodec

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
  const { trainer, tokenizerJson } = await trainedOnFacts(FACTS)
  const [from, to] = ['whole', '4-bit'].map((name) => join(folder, name))
  saveModel(from, trainer, tokenizerJson, 'F32')
  trainer.dispose()
  errors = (await quantizeModel(from, to, { bits: 4, group: 32, keep: [] })).errors
  original = await loadModel(from, { device: 'cpu' })
  quantized = await loadModel(to, { device: 'cpu' })
  codec = new TextCodec('tiny', original.config, original.tokenizer)
}, 300_000) // it trains
afterAll(() => {
  for (const model of [original, quantized]) model.dispose()
  rmSync(folder, { recursive: true })
})

/** The most likely token after each of a text's. */
function likely(model: LoadedModel, tokens: number[]): number[] {
  return tf.tidy(() => [...tf.argMax(model.forward(tokens).logits, -1).dataSync()])
}

test('loss, next tokens and facts are those of each text and question alone', async () => {
  const before = tf.memory().numTensors
  const samples = 2
  const report = await compareQuantized(original, quantized, errors, { samples, facts: FACTS })
  expect(tf.memory().numTensors).toBe(before)

  const documents = await documentsOf(
    codec,
    ALL_DOMAINS,
    { split: 'heldout', seed: 1, facts: FACTS },
    samples,
  )
  for (const [model, loss] of [[original, report.loss.before], [quantized, report.loss.after]] as const) // biome-ignore format: a table
    expect(loss).toBeCloseTo(lossReport(documents, await documentLosses(model, documents)).mean, 4)
  const texts = documents.map(({ tokens }) => tokens.slice(0, -1))
  const same = texts.flatMap((tokens) => {
    const [these, those] = [original, quantized].map((model) => likely(model, tokens))
    return these.map((token, i) => token === those[i])
  })
  expect(report.agreement.tokens).toBe(same.length)
  expect(Math.abs(report.agreement.share * same.length - same.filter(Boolean).length)).toBeLessThan(3) // a near tie may fall otherwise in a batch

  const questions = await factQuestions(codec, FACTS, 'heldout')
  const rightOf = (model: LoadedModel) =>
    questions.map(({ tokens, from }) => {
      const chosen = likely(model, tokens.slice(0, -1))
      return tokens.slice(from).every((token, i) => token === chosen[from - 1 + i])
    })
  const [known, kept] = [rightOf(original), rightOf(quantized)]
  const named = (has: (i: number) => boolean) =>
    questions
      .filter((_, i) => has(i))
      .map(({ fact: { name, attribute, value } }) => ({ name, attribute, value }))
  const facts = report.facts!
  expect([facts.before.right.correct, facts.after.right.correct]).toEqual(
    [known, kept].map((right) => right.filter(Boolean).length),
  )
  expect(facts.before.right.correct).toBeGreaterThan(0)
  expect(facts.lost).toEqual(named((i) => known[i] && !kept[i]))
  expect(facts.gained).toEqual(named((i) => !known[i] && kept[i]))
  expect(facts.lost.length + facts.gained.length).toBeGreaterThan(0)
})

test('errors are those of the matrices, of each expert beside its share of the tokens, busier ones apart from rarer ones', async () => {
  const { layers, facts } = await compareQuantized(original, quantized, errors, { samples: 1 })
  expect(facts).toBe(null)
  expect(layers).toHaveLength(2)
  for (const { layer, others, experts, busy, rare } of layers) {
    const errorOf = (has: RegExp) =>
      mean(
        errors
          .filter(({ name }) => name.startsWith(`blocks.${layer}.`) && has.test(name))
          .map(({ relative }) => relative),
      )
    expect(others).toBeCloseTo(errorOf(/attention/), 10)
    for (const [e, { error }] of experts.entries())
      expect(error).toBeCloseTo(errorOf(new RegExp(`experts\\.${e}\\.`)), 10)
    expect(sum(experts.map(({ share }) => share))).toBeCloseTo(1, 10)
    const [first, second, ...rest] = experts.toSorted((a, b) => b.share - a.share).map(({ error }) => error)
    expect(busy).toBeCloseTo(mean([first, second]), 10)
    expect(rare).toBeCloseTo(mean(rest), 10)
  }
})
