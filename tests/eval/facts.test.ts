import { createRequire } from 'node:module'
import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { factExpertsText, factsText } from '../../src/cli/eval-facts-text.ts'
import { startRuntime } from '../../src/device/index.ts'
import { TextCodec } from '../../src/eval/documents.ts'
import { factExperts, layerFacts } from '../../src/eval/fact-experts.ts'
import {
  answerFacts,
  type FactQuestion,
  factQuestions,
  factsReport,
  knownFacts,
} from '../../src/eval/facts.ts'
import type { EvalForward } from '../../src/eval/loss.ts'
import { proportion } from '../../src/eval/proportion.ts'
import type { Trainer } from '../../src/train/trainer.ts'
import { trainedOnFacts } from '../train/facts-trainer.ts'
import { projectCodec, TEXT_CONFIG, V } from './oracle.ts'

const SIZE = { entities: 30, phrasings: 5 }
const PARAMETERS = { total: 1000, active: 400 }

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** Values of each set, from the file and not from the code that draws them. */
const world: { values: Record<string, string[]>; kinds: Record<string, Record<string, { values: string }>> } =
  createRequire(import.meta.url)('../../src/corpus/facts/world.json')
function valuesOf(kind: string, attribute: string): string[] {
  const lists = world.values[world.kinds[kind][attribute].values].map((list) => list.split(' '))
  return lists.reduce((values, list) => values.flatMap((value) => list.map((part) => value + part)), [''])
}

/**
 * Stands in for a model that is sure of the facts it knows and, of the others, holds every value of the set for equally likely: the
 * probability of a token is the share of the values that go on with it.
 */
async function knower(
  codec: TextCodec,
  questions: FactQuestion[],
  knows: (i: number) => boolean,
): Promise<EvalForward> {
  const sets = new Map<string, number[][]>()
  const valuesIn = async (kind: string, attribute: string) => {
    const of = async (value: string) => (await codec.prompt(` ${value}`)).slice(1)
    const name = `${kind} ${attribute}`
    const set = sets.get(name) ?? (await Promise.all(valuesOf(kind, attribute).map(of)))
    sets.set(name, set)
    return set
  }
  const shares = new Map<string, Map<number, number>>() // beginning -> next token -> values that go on so
  const begin = (tokens: number[]) => shares.get(tokens.join()) ?? new Map<number, number>()
  for (const [i, { fact, tokens, from }] of questions.entries()) {
    const prompt = tokens.slice(0, from)
    for (const value of knows(i) ? [tokens.slice(from)] : await valuesIn(fact.kind, fact.attribute)) {
      const own = [...prompt, ...value]
      for (let t = from; t < own.length; t++) {
        const next = begin(own.slice(0, t))
        shares.set(own.slice(0, t).join(), next.set(own[t], (next.get(own[t]) ?? 0) + 1))
      }
    }
  }
  const forward = (rows: number[][]) => {
    const T = Math.max(...rows.map(({ length }) => length))
    const logits = new Float32Array(rows.length * T * V).fill(-1e4)
    for (const [b, row] of rows.entries())
      for (let t = 0; t < row.length; t++)
        for (const [token, count] of begin(row.slice(0, t + 1)))
          logits[(b * T + T - row.length + t) * V + token] = Math.log(count)
    return { logits: tf.tensor(logits, [rows.length, T, V]), trace: null }
  }
  return { config: TEXT_CONFIG, forward } as unknown as EvalForward
}

describe('a model of known recall', () => {
  test('that knows every fact stores all their bits', async () => {
    const codec = await projectCodec()
    const questions = await factQuestions(codec, SIZE, 'heldout')
    expect(questions).toHaveLength(150)
    const known = knownFacts(
      questions,
      await answerFacts(await knower(codec, questions, () => true), questions),
    )
    expect(known.right).toEqual(proportion(150, 150))
    expect(known.storedBits).toBeCloseTo(30 * 31, 3)
  })

  test('that guesses evenly stores none, and is right as often as chance has it', async () => {
    const codec = await projectCodec()
    const questions = await factQuestions(codec, SIZE, 'heldout')
    const known = knownFacts(
      questions,
      await answerFacts(await knower(codec, questions, () => false), questions),
    )
    expect(Math.abs(known.storedBits)).toBeLessThan(0.01)
    expect(known.right.correct).toBeLessThan(10)
    expect(known.byAttribute['person pet']).toMatchObject({ bitsAFact: 5, right: { total: 10 } })
  })

  test('that knows some and guesses the rest stores the bits of those', async () => {
    const codec = await projectCodec()
    const questions = await factQuestions(codec, SIZE, 'validation')
    const isHome = (i: number) => questions[i].fact.attribute === 'home' && questions[i].fact.entity < 12
    const known = knownFacts(questions, await answerFacts(await knower(codec, questions, isHome), questions))
    const { storedBits, right } = known.byAttribute['person home']
    expect(storedBits).toBeCloseTo(4 * 8, 2) // persons 0, 3, 6 and 9
    expect(right.correct).toBeGreaterThanOrEqual(4)
    expect(known.storedBits).toBeCloseTo(4 * 8, 2)
  })

  test('that is sure of what is wrong stores less than nothing', async () => {
    const codec = await projectCodec()
    const questions = await factQuestions(codec, SIZE, 'heldout')
    const wrong = questions.map((question, i) => {
      const other = questions[(i + 15) % 150] // the same attribute of another
      return {
        ...question,
        tokens: [...question.tokens.slice(0, question.from), ...other.tokens.slice(other.from)],
      }
    })
    const model = await knower(codec, wrong, () => true)
    const { right, storedBits } = knownFacts(questions, await answerFacts(model, questions))
    expect(storedBits).toBeLessThan(-1e4)
    expect(right.correct).toBeLessThan(10)
  })
})

test('questions are how held-out documents begin, no training portrait has them, and the value is what is left', async () => {
  const codec = await projectCodec()
  const [heldout, train] = [
    await factQuestions(codec, SIZE, 'heldout'),
    await factQuestions(codec, SIZE, 'train'),
  ]
  for (const [i, { fact, tokens, from, nameEnd }] of heldout.entries()) {
    expect(await codec.text(tokens.slice(from))).toBe(` ${fact.value}`)
    expect(await codec.text(tokens.slice(0, nameEnd + 1))).toBe(fact.name)
    expect(train[i].fact).toEqual(fact)
    expect(train[i].tokens.join()).not.toBe(tokens.join())
  }
})

describe('a tiny model trained on few facts', () => {
  let trainer: Trainer
  let codec: TextCodec
  const few = { entities: 9, phrasings: 5 }

  beforeAll(async () => {
    const trained = await trainedOnFacts(few)
    trainer = trained.trainer
    codec = new TextCodec('tiny', trainer.model.config, trained.tokenizer)
  })
  afterAll(() => trainer.dispose())

  test('knows most of them in words it has read, fewer in others, and leaks nothing', async () => {
    const before = tf.memory().numTensors
    const report = await factsReport(trainer.model, codec, few, 'heldout', PARAMETERS)
    expect(tf.memory().numTensors).toBe(before)
    expect(report.possibleBits).toBe(9 * 31)
    // from nine entities it learns little about which words mean the same
    expect(report.recitation.storedBits).toBeGreaterThan(9 * 31 * 0.6)
    expect(report.recitation.right.correct).toBeGreaterThan(35)
    expect(report.recitation.storedBits).toBeGreaterThan(report.recall.storedBits)
    expect(report.recall.bitsAParameter.total).toBeCloseTo(report.recall.storedBits / 1000, 10)
    expect(report.recall.bitsAParameter.active).toBeCloseTo(report.recall.storedBits / 400, 10)
    const text = factsText(report, 'heldout')
    expect(text).toMatch(/\nperson pet +5\.00 +\d+\.\d% +\d+\.\d% \.\. \d+\.\d% +\d+\.\d% +-?\d+\n/)
    expect(text).toMatch(
      /\nrecalled: -?\d+ of 279 bits stored, -?\d\.\d{3} a parameter, -?\d\.\d{3} an active one\n/,
    )
  })

  test('answers as one question at a time does: nats and the greedy continuation', async () => {
    const questions = await factQuestions(codec, few, 'heldout')
    const answers = await answerFacts(trainer.model, questions)
    for (const [i, { tokens, from }] of questions.entries()) {
      const [nats, best] = alone(tokens, from)
      expect(answers[i].nats).toBeCloseTo(nats, 3)
      expect(answers[i].right).toBe(best.join() === tokens.slice(from).join())
    }
  })

  test('loses facts without an expert, as each question alone does', async () => {
    const before = tf.memory().numTensors
    const report = await factExperts(trainer.model, codec, few, 'heldout')
    expect(tf.memory().numTensors).toBe(before)
    expect(factExpertsText(report)).toMatch(/\n +1( +\d+\.\d%){4} {2}0: \d+\.\d% {2}1: .* {2}3: \d+\.\d%\n/)
    const questions = await factQuestions(codec, few, 'heldout')
    const known = questions.filter(
      ({ tokens, from }) => alone(tokens, from)[1].join() === tokens.slice(from).join(),
    )
    expect(report).toMatchObject({ known: known.length, asked: 45 })
    expect(report.layers.map(({ layer }) => layer)).toEqual([0, 1])
    for (const { layer, lost, places } of report.layers) {
      const expected = lost.map((_, expert) => {
        const options = { interventions: { disable: [{ expert, layer }] } }
        const wrong = ({ tokens, from }: FactQuestion) =>
          alone(tokens, from, options)[1].join() !== tokens.slice(from).join()
        return known.filter(wrong).length
      })
      expect(lost.map(({ correct }) => correct)).toEqual(expected)
      const all = lost.reduce((sum, { correct }) => sum + correct, 0)
      for (const { chosen, others } of Object.values(places)) {
        expect(chosen.correct + others.correct).toBe(all)
        expect([chosen.total, others.total]).toEqual([2 * known.length, 2 * known.length]) // K 2 of E 4
      }
    }
  })

  /** By the plain forward: nats of the value, and the most likely token at each of its places. */
  function alone(tokens: number[], from: number, options = {}): [number, number[]] {
    return tf.tidy(() => {
      const { logits } = trainer.model.forward(tokens.slice(0, -1), options)
      const p = tf.logSoftmax(logits as tf.Tensor2D).arraySync() as number[][]
      const places = p.slice(from - 1)
      const nats = places.reduce((sum, row, i) => sum - row[tokens[from + i]], 0)
      return [nats, places.map((row) => row.indexOf(Math.max(...row)))]
    })
  }
})

test('facts lost are counted by what the routers chose, by hand', () => {
  const right = { nats: 0, right: true }
  const wrong = { nats: 9, right: false }
  // three facts, experts 0 and 1; the first is lost without 0, the second without either, the third never
  const without = [
    [wrong, wrong, right],
    [right, wrong, right],
  ]
  const used = { name: [0, 0, 1], question: [1, 1, 1] }
  const { lost, places } = layerFacts(3, without, (place, fact) => [used[place][fact]])
  expect(lost).toEqual([proportion(2, 3), proportion(1, 3)])
  expect(places.name).toEqual({ chosen: proportion(2, 3), others: proportion(1, 3) })
  expect(places.question).toEqual({ chosen: proportion(1, 3), others: proportion(2, 3) })
})
