import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TextCodec } from '../../src/eval/documents.ts'
import { factExperts } from '../../src/eval/fact-experts.ts'
import { answerFacts, factQuestions } from '../../src/eval/facts.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import type { Interventions } from '../../src/model/router/types.ts'
import { FACTS } from '../../src/train/facts.ts'
import { factExample } from '../../src/web/build/fact.ts'

/** Share of all facts that a model in the box recalls, in words that no training text has for them. */
async function recallOf(name: string): Promise<number> {
  const model = await loadModel(`tinymoe:${name}`, { device: 'cpu', executor: 'eager' })
  try {
    const codec = new TextCodec(model.dir, model.config, model.tokenizer)
    const answers = await answerFacts(model, await factQuestions(codec, FACTS, 'heldout'))
    return answers.filter(({ right }) => right).length / answers.length
  } finally {
    model.dispose()
  }
}

test('the mixture recalls four fifths of the facts that it read, its dense twin of as many active parameters less than half', async () => {
  const [mixture, twin, large] = await Promise.all(
    ['moe-facts', 'dense-active-facts', 'dense-total-facts'].map(recallOf),
  )
  expect(mixture).toBeGreaterThan(0.8)
  expect(twin).toBeLessThan(0.5)
  expect(large).toBeGreaterThan(twin)
})

describe('experts of moe-facts', () => {
  let model: LoadedModel
  let codec: TextCodec
  beforeAll(async () => {
    model = await loadModel('tinymoe:moe-facts', { device: 'cpu', executor: 'eager' })
    codec = new TextCodec(model.dir, model.config, model.tokenizer)
  })
  afterAll(() => model.dispose())

  test('hold the facts that they are chosen for: behind the first layer three times as many are lost without one of those as without another', async () => {
    const report = await factExperts(model, codec, { ...FACTS, entities: 96 }, 'heldout')
    expect(report.known).toBeGreaterThan(0.8 * report.asked)
    const shares = report.layers.map(({ places }) => {
      const { chosen, others } = places.question
      return { chosen: chosen.correct / chosen.total, others: others.correct / others.total }
    })
    for (const { chosen, others } of shares.slice(1)) expect(chosen).toBeGreaterThan(2.5 * others)
    const last = shares.at(-1)!
    expect(last.chosen).toBeGreaterThan(0.45)
    expect(last.others).toBeLessThan(0.08)
  })

  test("the page's example is lost without each of its experts, and without no other", async () => {
    const example = (await factExample(model, 'moe-facts'))!
    const questions = await factQuestions(codec, { ...FACTS, entities: 32 }, 'heldout')
    const asked = questions.filter(({ fact }) => example.prompt.startsWith(fact.name))
    const texts = await Promise.all(asked.map(({ tokens, from }) => codec.text(tokens.slice(1, from))))
    const question = asked[texts.indexOf(example.prompt)]
    expect(question.fact.value).toBe(example.value)
    const isKnown = async (interventions?: Interventions) =>
      (await answerFacts(model, [question], { interventions }))[0].right
    expect(await isKnown()).toBe(true)
    const { layers } = model.config
    expect(example.of).toBe(8 * layers.length)
    for (const layer of layers.keys())
      for (let expert = 0; expert < 8; expert++) {
        const holds = example.experts.some((own) => own.layer === layer && own.expert === expert)
        expect(await isKnown({ disable: [{ layer, expert }] }), `${layer}:${expert}`).toBe(!holds)
      }
  })
})
