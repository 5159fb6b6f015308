import type { FactsSize } from '../corpus/facts/world.ts'
import { corpus, type Mix } from '../corpus/index.ts'
import { type TokenizerJson, trainBpe } from '../text/bpe.ts'

/** Ids 0, 1 and 2. A document is written `<s>` text `</s>`; `<pad>` fills a batch and is never predicted. */
export const SPECIAL_TOKENS = ['<pad>', '<s>', '</s>'] as const
export const VOCAB_SIZE = 1024

/** Merges settle long before this: twice as much text gives the same compression. */
const TRAINING_CHARS = 1_500_000
/** Ordinary words gain most from merges; with equal shares, names of months and data items crowd them out. */
const MIX: Mix = { story: 2, german: 2, arithmetic: 1, code: 1, data: 1, dates: 1 }
/** Of facts, where there are some: names and values are many words, each of them rare. */
const FACTS_SHARE = 8

/**
 * The tokenizer of the trained models: byte-level BPE over all domains. Each digit is a token, so that a model can
 * line up the places of a sum. A corpus with facts has a tokenizer of its own.
 */
export function trainTokenizer(seed: number, facts: FactsSize | null = null): TokenizerJson {
  const texts = Array.from(
    corpus({
      split: 'train',
      seed,
      chars: TRAINING_CHARS,
      mix: facts ? { ...MIX, facts: FACTS_SHARE } : MIX,
      facts,
    }),
    (sample) => sample.text,
  )
  return trainBpe(texts, {
    vocabSize: VOCAB_SIZE,
    specialTokens: SPECIAL_TOKENS,
    individualDigits: true,
  })
}
