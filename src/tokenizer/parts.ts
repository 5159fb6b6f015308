import type { TokenizerJson } from './tokenizer.ts'

/** One step of a tokenizer: an object with a `type` and settings. */
export type Part = Readonly<Record<string, unknown>> & { readonly type: string }

/** Fields of a tokenizer.json that hold a step, or a `Sequence` of steps, and what the list in a sequence is called. */
export const STEP_LISTS = {
  normalizer: 'normalizers',
  pre_tokenizer: 'pretokenizers',
  post_processor: 'processors',
  decoder: 'decoders',
} as const

export type StepField = keyof typeof STEP_LISTS

/** The steps of a field in order, sequences taken apart. */
export function stepsIn(json: TokenizerJson, field: StepField): Part[] {
  const flat = (part: unknown): Part[] => {
    if (typeof part !== 'object' || part === null) return []
    const { type, [STEP_LISTS[field]]: list } = part as Part
    return type === 'Sequence' && Array.isArray(list) ? list.flatMap(flat) : [part as Part]
  }
  return flat(json[field])
}

/** The text that a pattern looks for, where it is no regular expression. */
export function literalOf(pattern: unknown): string | null {
  const { String: literal } = (pattern ?? {}) as { String?: unknown }
  return typeof literal === 'string' ? literal : null
}
