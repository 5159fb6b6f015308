import { Random } from '../corpus/random.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { TextSource } from './texts.ts'
import { SPECIAL_TOKENS } from './tokenizer.ts'

const BOS = SPECIAL_TOKENS.indexOf('<s>')
const EOS = SPECIAL_TOKENS.indexOf('</s>')

export interface BatchShape {
  /** B, rows of a batch. */
  rows: number
  /** T, tokens of a row that are predicted; a row holds one more, which begins it. */
  length: number
}

/** Batches as a function of seed and step: nothing has to be stored to go on after an interruption. */
export class Batches {
  constructor(
    private readonly texts: TextSource,
    private readonly tokenizer: Tokenizer,
    private readonly shape: BatchShape,
    private readonly seed: number,
  ) {}

  /** The rows [B][T + 1] of a training step, every domain with its share of the tokens. */
  async training(step: number): Promise<number[][]> {
    const random = new Random(`${this.seed}/batch/${step}`)
    const { domains, weightOf } = this.texts
    const documentOf = (domain: string) => this.document(domain, 'train', random)
    const drawn = new Map(domains.map((domain) => [domain, 0])) // tokens by weight
    // a small batch holds fewer documents than domains: each begins anywhere in its turn, so that shares come out over many batches
    if (weightOf)
      for (const domain of domains)
        drawn.set(domain, (random.float() * (await documentOf(domain)).length) / weightOf(domain))
    const documents: number[][] = []
    for (let total = 0; total < this.capacity; ) {
      const [domain, tokens] = [...drawn].reduce((least, entry) => (entry[1] < least[1] ? entry : least))
      const document = await documentOf(domain)
      documents.push(document)
      drawn.set(domain, tokens + document.length / (weightOf?.(domain) ?? 1))
      total += document.length
    }
    const weights = Object.fromEntries(domains.map((domain) => [domain, weightOf?.(domain) ?? 1]))
    const any = () => (weightOf ? random.weighted(weights) : random.pick(domains)) // two streams: runs without weights stay as they were
    return pack(documents, this.shape, random, () => documentOf(any()))
  }

  /** Rows of one domain's validation texts: the same whatever the seed and the step. */
  async validation(domain: string): Promise<number[][]> {
    const random = new Random(`validation/${domain}`)
    const next = () => this.document(domain, 'validation', random)
    const documents: number[][] = []
    for (let total = 0; total < this.capacity; total += documents.at(-1)!.length) documents.push(await next())
    return pack(documents, this.shape, random, next)
  }

  private get capacity(): number {
    return this.shape.rows * (this.shape.length + 1)
  }

  private async document(domain: string, split: 'train' | 'validation', random: Random): Promise<number[]> {
    const text = this.texts.draw(domain, split, random)
    return [BOS, ...(await this.tokenizer.encode(text, { addSpecialTokens: false })), EOS]
  }
}

/**
 * Packs whole documents into rows of T + 1 tokens, the longest first, each into the first row that has room. What then
 * is free at the end of a row takes the beginning of another document, so no token is padding and every row starts with
 * a document. Documents longer than a row are cut. `more` gives documents when none is left to begin.
 */
export async function pack(
  documents: number[][],
  { rows, length }: BatchShape,
  random: Random,
  more: () => Promise<number[]>,
): Promise<number[][]> {
  const size = length + 1
  const packed = Array.from({ length: rows }, (): { free: number; documents: number[][] } => ({
    free: size,
    documents: [],
  }))
  const left: number[][] = []
  for (const document of documents
    .flatMap((whole) => piecesOf(whole, size))
    .sort((a, b) => b.length - a.length)) {
    const row = packed.find(({ free }) => free >= document.length)
    if (row) {
      row.documents.push(document)
      row.free -= document.length
    } else left.push(document)
  }
  const filled: number[][] = []
  for (const row of packed) {
    const tokens = random.shuffle(row.documents).flat()
    while (tokens.length < size) tokens.push(...(left.pop() ?? (await more())).slice(0, size - tokens.length))
    filled.push(tokens)
  }
  return filled
}

function piecesOf(document: number[], size: number): number[][] {
  return Array.from({ length: Math.ceil(document.length / size) }, (_, i) =>
    document.slice(i * size, (i + 1) * size),
  )
}
