import type { Domain } from '../corpus/index.ts'

export const EVAL_SPLITS = ['heldout', 'validation'] as const
export type EvalSplit = (typeof EVAL_SPLITS)[number]

/** A value for each domain that was evaluated. */
export type ByDomain<T> = Partial<Record<Domain, T>>
