import { checkAnswer, type Domain, verifyText } from '../corpus/index.ts'
import type { ModelConfig } from '../model/config.ts'
import { type Draw, openingsOf, type Question, questionsOf, type TextCodec } from './documents.ts'
import type { ByDomain } from './domains.ts'
import { continueGreedily } from './greedy.ts'
import type { EvalForward, Watch } from './loss.ts'
import { type Proportion, pooled, proportion } from './proportion.ts'

/** New tokens beyond those of the right answer, so that a longer wrong one ends by itself. */
const SLACK = 16
/** New tokens of a text; no document of the corpus has so many. */
const TEXT_TOKENS = 320
/** Texts take many times as long as answers: one for so many questions. */
const QUESTIONS_A_TEXT = 4

/** Forms that ask for the sum of two numbers of two digits. */
const SUMS = { worked: ['worked', 'question'], plain: ['plain'] }

/** What is asked of a domain: its questions of one form, or texts to write. */
export interface Quiz {
  domain: Domain
  form: string
  kind: 'answer' | 'text'
  items: { prompt: number[]; limit: number; isRight(continuation: number[]): Promise<boolean> }[]
  /** Questions that are too long for the model. */
  leftOut: number
}

/** All that is asked of a model: at most `samples` questions of each form, and a quarter as many texts. */
export async function quizzesOf(
  codec: TextCodec,
  config: Pick<ModelConfig, 'maxPositionEmbeddings' | 'eosTokenIds'>,
  domains: readonly Domain[],
  draw: Draw,
  samples: number,
): Promise<Quiz[]> {
  const room = config.maxPositionEmbeddings
  const ofDomain = async (domain: Domain): Promise<Quiz[]> => {
    const texts = openingsOf(domain, draw, Math.ceil(samples / QUESTIONS_A_TEXT))
    const answers = await Promise.all(
      [...questionsOf(domain, draw, samples)].map(async ([form, questions]) => {
        const items = await Promise.all(questions.map((question) => answerItem(codec, question)))
        return fitting({ domain, form, kind: 'answer', items }, room)
      }),
    )
    if (texts === null) return answers
    const items = await Promise.all(texts.openings.map((opening) => textItem(codec, config, domain, opening)))
    return [...answers, fitting({ domain, form: texts.form, kind: 'text', items }, room)]
  }
  return (await Promise.all(domains.map(ofDomain))).flat()
}

async function answerItem(codec: TextCodec, question: Question): Promise<Quiz['items'][0]> {
  const prompt = await codec.prompt(question.prompt)
  const answerTokens = (await codec.prompt(question.text)).length - prompt.length
  return {
    prompt,
    limit: answerTokens + SLACK,
    isRight: async (continuation) =>
      checkAnswer(question, await continuationText(codec, prompt, continuation)),
  }
}

/** A text is right when the model wrote something, ended it, and the verifier finds nothing wrong in the whole. */
async function textItem(
  codec: TextCodec,
  { eosTokenIds }: Pick<ModelConfig, 'eosTokenIds'>,
  domain: Domain,
  opening: string,
): Promise<Quiz['items'][0]> {
  const prompt = await codec.prompt(opening)
  return {
    prompt,
    limit: TEXT_TOKENS,
    isRight: async (continuation) => {
      const written = await continuationText(codec, prompt, continuation)
      const ended = eosTokenIds.includes(continuation.at(-1) ?? -1)
      return ended && written !== '' && verifyText(domain, opening + written).length === 0
    },
  }
}

/** Text that new tokens add: tokenizers may drop a space at the beginning, so it is read behind the prompt. */
async function continuationText(codec: TextCodec, prompt: number[], continuation: number[]): Promise<string> {
  const [whole, before] = await Promise.all([codec.text([...prompt, ...continuation]), codec.text(prompt)])
  return whole.slice(before.length)
}

/** Without the items that have no room for what they need, and with no limit beyond the model's positions. */
function fitting(quiz: Omit<Quiz, 'leftOut'>, room: number): Quiz {
  const needed = ({ prompt, limit }: Quiz['items'][0]) =>
    prompt.length + (quiz.kind === 'answer' ? limit - SLACK : 1)
  const items = quiz.items.filter((item) => needed(item) <= room)
  return {
    ...quiz,
    items: items.map((item) => ({ ...item, limit: Math.min(item.limit, room - item.prompt.length) })),
    leftOut: quiz.items.length - items.length,
  }
}

/** Decodes greedily and counts. An answer ends with its line: nothing after it counts. */
export async function runQuiz(
  model: EvalForward,
  codec: TextCodec,
  { kind, items }: Quiz,
  watch: Watch = {},
): Promise<Proportion> {
  const ends = new Set(model.config.eosTokenIds)
  const isEnd = async (token: number) =>
    ends.has(token) || (kind === 'answer' && (await codec.tokenText(token)).includes('\n'))
  const continuations = await continueGreedily(model, items, { ...watch, isEnd })
  const right = await Promise.all(items.map((item, i) => item.isRight(continuations[i])))
  return proportion(right.filter(Boolean).length, items.length)
}

export interface QuizResult {
  quiz: Quiz
  result: Proportion
}

export async function runQuizzes(
  model: EvalForward,
  codec: TextCodec,
  quizzes: readonly Quiz[],
  { signal, onShare }: Watch = {},
): Promise<QuizResult[]> {
  const results: QuizResult[] = []
  for (const [i, quiz] of quizzes.entries()) {
    const watch: Watch = { signal, onShare: (share) => onShare?.((i + share) / quizzes.length) }
    results.push({ quiz, result: await runQuiz(model, codec, quiz, watch) })
  }
  return results
}

/** Results of one kind, by domain and form. */
export function byDomainAndForm(
  results: readonly QuizResult[],
  kind: Quiz['kind'],
): ByDomain<Record<string, Proportion>> {
  const grouped: ByDomain<Record<string, Proportion>> = {}
  for (const { quiz, result } of results) {
    if (quiz.kind === kind) grouped[quiz.domain] = { ...grouped[quiz.domain], [quiz.form]: result }
  }
  return grouped
}

/** Several forms of question counted as one. */
export type FormsPooled = Proportion & { forms: string[] }

/** Sums of two numbers of two digits, whose pair is in no training text, with working and without; null where none was asked. */
export function headlineOf({ arithmetic }: ReturnType<typeof byDomainAndForm>) {
  if (!arithmetic) return null
  const of = (forms: string[]): FormsPooled => {
    const asked = forms.filter((form) => form in arithmetic)
    return { ...pooled(asked.map((form) => arithmetic[form])), forms: asked }
  }
  return { worked: of(SUMS.worked), plain: of(SUMS.plain) }
}
