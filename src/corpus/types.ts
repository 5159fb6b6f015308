/** The six kinds of text of every corpus, each with its own vocabulary and rules, so that experts can specialise visibly. */
export const DOMAINS = ['story', 'arithmetic', 'code', 'german', 'data', 'dates'] as const
/** With what a corpus has only where it is asked for: facts of an invented world, as many as shall be. */
export const ALL_DOMAINS = [...DOMAINS, 'facts'] as const
export type Domain = (typeof ALL_DOMAINS)[number]

/** `validation` is for decisions while training, `heldout` for the numbers that are reported at the end. */
export const SPLITS = ['train', 'validation', 'heldout'] as const
export type Split = (typeof SPLITS)[number]

/** What a domain's generator makes of a stream of random numbers. */
export interface Draft {
  /** Which of the domain's formats this is, such as `worked` or `roman`. */
  form: string
  /** The whole document, without special tokens. */
  text: string
  /** The keys that decided the split: no key of one split occurs in another. */
  combinations: string[]
  /** Where the document can be scored: `text` is `prompt` followed by `answer`, and the answer is determined. */
  prompt?: string
  answer?: string
}

/** One document of the corpus. */
export interface Sample extends Draft {
  domain: Domain
  split: Split
}
