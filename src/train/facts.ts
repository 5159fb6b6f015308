import type { FactsSize } from '../corpus/facts/world.ts'

/** Facts in a training: how many, and their share of the tokens beside the other domains together. */
export interface FactsSettings extends FactsSize {
  share: number
}

/** What facts are where nobody chooses, and in the models that come with the package: 7.5 million tokens. docs/training.md has the arithmetic. */
export const FACTS = { entities: 1024, phrasings: 5, share: 0.8, exposures: 200 } as const

/** Tokens of a portrait in the tokenizer of a corpus with facts, marks included: mean of many. A test measures it again. */
export const PORTRAIT_TOKENS = 29.4

/** Steps in which each fact is read so many times, on average. */
export function exposureSteps(
  { entities, share }: FactsSettings,
  exposures: number,
  { rows, length }: { rows: number; length: number },
): number {
  return Math.max(1, Math.round((entities * exposures * PORTRAIT_TOKENS) / share / (rows * length)))
}

/** As a command takes it: `1000`, or `1000x4` with other than all phrasings. */
export function factsText({ entities, phrasings }: FactsSize): string {
  return phrasings === FACTS.phrasings ? `${entities}` : `${entities}x${phrasings}`
}
