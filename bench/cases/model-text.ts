import { Xoshiro128 } from '../../src/generate/random.ts'
import type { ModelConfig } from '../../src/model/config.ts'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts'
import { TEXT } from './text.ts'

/** Random ids drawn where a model has no tokenizer; as many as the text has characters, about. */
const RANDOM_IDS = 1500
/** Ids between the beginnings of two sequences of a batch, so that no two are alike. */
const STRIDE = 37

/** The tokens that a model's cases run on: as many as asked for, from the beginning again when the text ends. */
export class BenchText {
  constructor(
    private readonly ids: number[],
    /** In words. */
    readonly source: string,
  ) {}

  /** `batch` sequences of `length` tokens, each from another place of the text. */
  sequences(batch: number, length: number): number[][] {
    const { ids } = this
    return Array.from({ length: batch }, (_, b) =>
      Array.from({ length }, (_, i) => ids[(b * STRIDE + i) % ids.length]),
    )
  }
}

/** Real text where there is a tokenizer, else seeded token ids. */
export async function benchText(
  config: ModelConfig,
  tokenizer: Tokenizer | null,
  seed: number,
): Promise<BenchText> {
  if (tokenizer) return new BenchText(await tokenizer.encode(TEXT), 'English prose through its tokenizer')
  const random = Xoshiro128.fromSeed(seed)
  const ids = Array.from({ length: RANDOM_IDS }, () => Math.floor(random.uniform() * config.vocabSize))
  return new BenchText(ids, 'random token ids, as it has no tokenizer')
}
