import type { FactsSize } from '../corpus/facts/world.ts'
import { type Domain, generateSample, type Sample, type Split } from '../corpus/index.ts'
import { InputError } from '../errors.ts'
import type { ModelConfig } from '../model/config.ts'
import { shown } from '../text/foreign.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

/** A document as the model reads it. */
export interface Document {
  domain: Domain
  /** Begin of text, text, end of text; without the marks that the model does not have. */
  tokens: number[]
  /** Unicode code points of the text. */
  characters: number
}

/** Texts to ids of one model and back. Begin and end of text are those of its config, whatever the tokenizer adds. */
export class TextCodec {
  private readonly begin: number[]
  private readonly end: number[]

  /** @throws InputError without a tokenizer */
  constructor(
    private readonly dir: string,
    private readonly config: Pick<
      ModelConfig,
      'vocabSize' | 'bosTokenId' | 'eosTokenIds' | 'maxPositionEmbeddings'
    >,
    private readonly tokenizer: Tokenizer | null,
  ) {
    if (!tokenizer) {
      throw new InputError(
        `${dir}: has no tokenizer.json, so the model cannot read the texts it is evaluated on (bench --model measures its cost and speed)`,
      )
    }
    this.begin = config.bosTokenId === null ? [] : [config.bosTokenId]
    this.end = config.eosTokenIds.slice(0, 1)
  }

  /** A whole document; what is over the model's positions is cut off. */
  async document(domain: Domain, text: string): Promise<Document & { cut: boolean }> {
    const whole = [...(await this.prompt(text)), ...this.end]
    if (whole.length < 2) {
      throw new InputError(`${this.dir}: tokenizer.json gives too few tokens for ${shown(text)}`)
    }
    const tokens = whole.slice(0, this.config.maxPositionEmbeddings)
    return { domain, tokens, characters: [...text].length, cut: tokens.length < whole.length }
  }

  /**
   * The beginning of a document.
   * @throws InputError for a tokenizer with more ids than the model
   */
  async prompt(text: string): Promise<number[]> {
    const ids = await this.tokenizer!.encode(text, { addSpecialTokens: false })
    const foreign = ids.find((id) => id >= this.config.vocabSize)
    if (foreign !== undefined) {
      throw new InputError(
        `${this.dir}: tokenizer.json gives token ${foreign}, but the model has ${this.config.vocabSize} (vocab_size)`,
      )
    }
    return [...this.begin, ...ids]
  }

  /** Text of ids, without marks. */
  text(tokens: readonly number[]): Promise<string> {
    return this.tokenizer!.decode(tokens)
  }

  /** What an id stands for, marks included. */
  tokenText(token: number): Promise<string> {
    return this.tokenizer!.decode([token], { skipSpecialTokens: false })
  }

  /** What this model lacks, in words; empty for the project's own. */
  notes(): string[] {
    const missing = (what: string, so: string) => `the model's config has no ${what}, so ${so}`
    return [
      ...(this.begin.length === 0
        ? [missing('bos_token_id', 'the first token of a document is not predicted')]
        : []),
      ...(this.end.length === 0
        ? [missing('eos_token_id', 'the end of a document is not predicted and texts run on to their limit')]
        : []),
    ]
  }
}

/** Which of the generator's documents. */
export interface Draw {
  split: Split
  seed: number
  /** How many facts the corpus has, where they are a domain of it. */
  facts?: FactsSize | null
}

/** A document whose answer is determined. */
export type Question = Sample & { prompt: string; answer: string }

/** The split's first `count` documents of each domain. */
export function documentsOf(
  codec: TextCodec,
  domains: readonly Domain[],
  { split, seed, facts }: Draw,
  count: number,
): Promise<Awaited<ReturnType<TextCodec['document']>>[]> {
  const first = Array.from({ length: count }, (_, index) => index)
  return Promise.all(
    domains.flatMap((domain) =>
      first.map((index) => codec.document(domain, generateSample(domain, split, index, seed, facts).text)),
    ),
  )
}

/** The split's first documents of each domain with `tokens` tokens together, or a little more. */
export async function documentsOfTokens(
  codec: TextCodec,
  domains: readonly Domain[],
  { split, seed, facts }: Draw,
  tokens: number,
): Promise<Document[]> {
  const documents: Document[] = []
  for (const domain of domains) {
    let total = 0
    for (let index = 0; total < tokens; index++) {
      const document = await codec.document(domain, generateSample(domain, split, index, seed, facts).text)
      documents.push(document)
      total += document.tokens.length
    }
  }
  return documents
}

/** Draws for each question wanted before a rare form is taken to have no more. */
const DRAWS = 100

/** The split's first different questions of a domain, at most `count` of each form; a form may have fewer in all. */
export function questionsOf(domain: Domain, { split, seed }: Draw, count: number): Map<string, Question[]> {
  const byForm = new Map<string, Map<string, Question>>()
  for (let index = 0; index < DRAWS * count; index++) {
    const sample = generateSample(domain, split, index, seed)
    const { form, prompt, answer } = sample
    if (prompt === undefined || answer === undefined) continue
    const questions = byForm.get(form) ?? new Map()
    byForm.set(form, questions)
    if (questions.size < count) questions.set(prompt, { ...sample, prompt, answer })
  }
  return new Map([...byForm].map(([form, questions]) => [form, [...questions.values()]]))
}

/** Where a document without an answer is cut for the model to go on: after a story's first sentence, a program's first line. */
const OPENINGS = { story: /^.+?[.!?](?= )/, program: /^.+$/m }

/** Different openings of the split's documents without an answer, at most `count`; null where a domain has none. */
export function openingsOf(
  domain: Domain,
  { split, seed }: Draw,
  count: number,
): { form: keyof typeof OPENINGS; openings: string[] } | null {
  if (domain !== 'story' && domain !== 'german' && domain !== 'code') return null
  const form = domain === 'code' ? 'program' : 'story'
  const openings = new Set<string>()
  for (let index = 0; index < DRAWS * count && openings.size < count; index++) {
    const { answer, text } = generateSample(domain, split, index, seed)
    const opening = answer === undefined && OPENINGS[form].exec(text)?.[0]
    if (opening) openings.add(opening)
  }
  return { form, openings: [...openings] }
}
