import { DOMAINS, generateSample } from '../../src/corpus/index.ts'
import { TextCodec } from '../../src/eval/documents.ts'
import type { EvalForward } from '../../src/eval/loss.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'

export const V = 1024
export const END = 2

/** The config of a model of the project's own kind, as far as texts need it. */
export const TEXT_CONFIG = { vocabSize: V, bosTokenId: 1, eosTokenIds: [END], maxPositionEmbeddings: 1024 }

/** Reads and writes with the project's tokenizer. */
export async function projectCodec(config: Partial<typeof TEXT_CONFIG> = {}): Promise<TextCodec> {
  return new TextCodec('model', { ...TEXT_CONFIG, ...config }, await loadTokenizer('models/random-mixtral'))
}

/**
 * Stands in for a model that knows documents by heart: after any beginning of one it is sure of its next token, `change`d.
 * A cache is the list of tokens seen so far.
 */
export function oracle(
  documents: readonly number[][],
  change: (token: number) => number = (token) => token,
): EvalForward {
  const nextOf = (seen: number[]) => {
    const document = documents.find((d) => d.length > seen.length && seen.every((token, i) => token === d[i]))
    return document ? change(document[seen.length]) : END
  }
  const greedy = (tokens: number[][], { cache }: { cache: { seen: number[][] } }) => {
    cache.seen = tokens.map((row, b) => [...(cache.seen[b] ?? []), ...row])
    return { tokens: cache.seen.map(nextOf), trace: null }
  }
  const createCache = () => ({ seen: [], dispose: () => {} })
  return { config: TEXT_CONFIG, createCache, greedy } as unknown as EvalForward
}

/** The first documents of every domain. */
export function heldoutDocuments(codec: TextCodec, count: number): Promise<number[][]> {
  return Promise.all(
    DOMAINS.flatMap((domain) =>
      Array.from({ length: count }, async (_, index) => {
        const { text } = generateSample(domain, 'heldout', index, 1)
        return (await codec.document(domain, text)).tokens
      }),
    ),
  )
}
