import { checkAnswer, type Domain, verifyText } from '../corpus/index.ts'
import type { ModelConfig } from '../model/config.ts'
import { type Draw, openingsOf, type Question, questionsOf, type TextCodec } from './documents.ts'
import { continueGreedily } from './greedy.ts'
import type { EvalForward, Watch } from './loss.ts'
import { type Proportion, pooled, proportion } from './proportion.ts'
import type { ByDomain, EvalReport, FormsPooled } from './types.ts'

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
  items: { prompt: number[]; limit: number; isRight(continuation: number[]): boolean }[]
  /** Questions that are too long for the model. */
  leftOut: number
}

/** All that is asked of a model: at most `samples` questions of each form, and a quarter as many texts. */
export function quizzesOf(
  codec: TextCodec,
  config: Pick<ModelConfig, 'maxPositionEmbeddings' | 'eosTokenIds'>,
  domains: readonly Domain[],
  draw: Draw,
  samples: number,
): Quiz[] {
  const room = config.maxPositionEmbeddings
  return domains.flatMap((domain) => {
    const texts = openingsOf(domain, draw, Math.ceil(samples / QUESTIONS_A_TEXT))
    const answers = [...questionsOf(domain, draw, samples)].map(([form, questions]) =>
      fitting({ domain, form, kind: 'answer', items: questions.map((q) => answerItem(codec, q)) }, room),
    )
    if (texts === null) return answers
    const items = texts.openings.map((opening) => textItem(codec, config, domain, opening))
    return [...answers, fitting({ domain, form: texts.form, kind: 'text', items }, room)]
  })
}

function answerItem(codec: TextCodec, question: Question): Quiz['items'][0] {
  const prompt = codec.prompt(question.prompt)
  const answerTokens = codec.prompt(question.text).length - prompt.length
  return {
    prompt,
    limit: answerTokens + SLACK,
    isRight: (continuation) => checkAnswer(question, continuationText(codec, prompt, continuation)),
  }
}

/** A text is right when the model wrote something, ended it, and the verifier finds nothing wrong in the whole. */
function textItem(
  codec: TextCodec,
  { eosTokenIds }: Pick<ModelConfig, 'eosTokenIds'>,
  domain: Domain,
  opening: string,
): Quiz['items'][0] {
  const prompt = codec.prompt(opening)
  return {
    prompt,
    limit: TEXT_TOKENS,
    isRight: (continuation) => {
      const written = continuationText(codec, prompt, continuation)
      const ended = eosTokenIds.includes(continuation.at(-1) ?? -1)
      return ended && written !== '' && verifyText(domain, opening + written).length === 0
    },
  }
}

/** Text that new tokens add: tokenizers may drop a space at the beginning, so it is read behind the prompt. */
function continuationText(codec: TextCodec, prompt: number[], continuation: number[]): string {
  return codec.text([...prompt, ...continuation]).slice(codec.text(prompt).length)
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
  const isEnd = (token: number) =>
    ends.has(token) || (kind === 'answer' && codec.tokenText(token).includes('\n'))
  const continuations = await continueGreedily(model, items, { ...watch, isEnd })
  return proportion(items.filter((item, i) => item.isRight(continuations[i])).length, items.length)
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

/** Sums of two digits, with working and without; null where none was asked. */
export function headlineOf(exactMatch: EvalReport['exactMatch']): EvalReport['headline'] {
  const { arithmetic } = exactMatch
  if (!arithmetic) return null
  const of = (forms: string[]): FormsPooled => {
    const asked = forms.filter((form) => form in arithmetic)
    return { ...pooled(asked.map((form) => arithmetic[form])), forms: asked }
  }
  return { worked: of(SUMS.worked), plain: of(SUMS.plain) }
}
