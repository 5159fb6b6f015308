import { group } from 'd3-array'
import { phrasingsOf, question } from '../corpus/facts/facts.ts'
import { type Fact, type FactsSize, factsOf } from '../corpus/facts/world.ts'
import type { Split } from '../corpus/index.ts'
import { mean, sum } from '../sums.ts'
import type { TextCodec } from './documents.ts'
import { type EvalForward, type LossOptions, predictions } from './loss.ts'
import { type Proportion, proportion } from './proportion.ts'

/** A fact to be told from what stands before `from`: the tokens from there on are its value. */
export interface FactQuestion {
  fact: Fact
  tokens: number[]
  from: number
  /** Where the name ends: its last token. */
  nameEnd: number
}

/** What a model knows of a fact. */
export interface FactAnswer {
  /** -ln p(value). */
  nats: number
  /** Whether the value is what the model writes, each token the most likely one. */
  right: boolean
}

/** Every fact of a corpus, each in one of the ways in which the split says it. */
export async function factQuestions(
  codec: TextCodec,
  size: FactsSize,
  split: Split,
): Promise<FactQuestion[]> {
  const questions: FactQuestion[] = []
  for (let entity = 0; entity < size.entities; entity++) {
    const facts = factsOf(entity)
    const nameEnd = (await codec.prompt(facts[0].name)).length - 1
    for (const fact of facts) {
      const prompt = question(fact, phrasingsOf(fact, split, size)[0])
      const from = (await codec.prompt(prompt)).length
      questions.push({ fact, tokens: await codec.prompt(`${prompt} ${fact.value}`), from, nameEnd })
    }
  }
  return questions
}

/** One pass over all questions; what may be watched or changed about it is that of losses. */
export async function answerFacts(
  model: EvalForward,
  questions: readonly FactQuestion[],
  options: LossOptions = {},
): Promise<FactAnswer[]> {
  const answers = new Array<FactAnswer>(questions.length)
  for await (const { document, losses, chosen } of predictions(model, questions, {
    ...options,
    choose: true,
  })) {
    const { tokens, from } = questions[document]
    answers[document] = {
      nats: sum(losses.subarray(from - 1)),
      right: tokens.slice(from).every((token, i) => token === chosen![from - 1 + i]),
    }
  }
  return answers
}

/** Facts known of those asked, and bits of them. */
export interface KnownBits {
  right: Proportion
  /** log2 of the number of values: what a fact holds. */
  bitsAFact: number
  /**
   * `facts (log2 values - nats / ln 2)`, nats a fact: the lower bound on stored bits of Allen-Zhu and Li (Physics of Language Models,
   * Part 3.3, arXiv 2404.05405), for values alone. 0 for one who guesses evenly, less for one who is sure of what is wrong.
   */
  storedBits: number
}

export type FactsKnown = ReturnType<typeof knownFacts>

/** What the answers come to: of each attribute, and of all facts. */
export function knownFacts(questions: readonly FactQuestion[], answers: readonly FactAnswer[]) {
  const groups = group(questions.keys(), (i) => `${questions[i].fact.kind} ${questions[i].fact.attribute}`)
  const byAttribute = Object.fromEntries(
    [...groups].map(([name, own]): [string, KnownBits] => {
      const bitsAFact = questions[own[0]].fact.bits
      const nats = mean(own.map((i) => answers[i].nats))
      return [
        name,
        {
          right: rightOf(own.map((i) => answers[i])),
          bitsAFact,
          storedBits: own.length * (bitsAFact - nats / Math.LN2),
        },
      ]
    }),
  )
  return {
    right: rightOf(answers),
    storedBits: sum(Object.values(byAttribute).map(({ storedBits }) => storedBits)),
    byAttribute,
  }
}

function rightOf(answers: readonly FactAnswer[]): Proportion {
  return proportion(answers.filter(({ right }) => right).length, answers.length)
}

export type FactsReport = Awaited<ReturnType<typeof factsReport>>

/** What a model recalls of the facts of a corpus in the split's words, and, to tell what it lacks from how it is asked, in training's. */
export async function factsReport(
  model: EvalForward,
  codec: TextCodec,
  size: FactsSize,
  split: Split,
  { total, active }: { total: number; active: number },
  { signal, onShare }: LossOptions = {},
) {
  const of = async (said: Split, from: number) => {
    const questions = await factQuestions(codec, size, said)
    const answers = await answerFacts(model, questions, {
      signal,
      onShare: (share) => onShare?.((from + share) / 2),
    })
    const known = knownFacts(questions, answers)
    const bitsAParameter = { total: known.storedBits / total, active: known.storedBits / active }
    return { possibleBits: sum(questions.map(({ fact }) => fact.bits)), known: { ...known, bitsAParameter } }
  }
  const { possibleBits, known: recall } = await of(split, 0)
  const { known: recitation } = await of('train', 1)
  return {
    ...size,
    /** What all facts hold. */
    possibleBits,
    /** In a way of saying it that no training text uses for this fact. */
    recall,
    /** In one that training texts use. */
    recitation,
  }
}
