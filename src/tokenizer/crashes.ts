import { shown } from '../text/foreign.ts'
import { type Part, type StepField, stepsIn } from './parts.ts'
import type { TokenizerJson } from './tokenizer.ts'

/** Post-processors that put tokens round a text. */
const ADDS_TOKENS = ['TemplateProcessing', 'BertProcessing', 'RobertaProcessing']

/**
 * What would end the process: the reference library (tokenizers 0.23) panics at some files that it has accepted, in a thread
 * where nothing can catch it. Found by random files. The message for the first one, or null.
 */
export function crashOf(json: TokenizerJson): string | null {
  return (
    find(json, 'normalizer', ({ type, precompiled_charsmap }) =>
      type === 'Precompiled' && !isCharsmap(precompiled_charsmap)
        ? 'has a precompiled_charsmap that is none'
        : null,
    ) ??
    find(json, 'pre_tokenizer', ({ type, length }) =>
      type === 'FixedLength' && length === 0 ? 'has length 0, expected at least 1' : null,
    ) ??
    find(json, 'decoder', ({ type, stop }) =>
      type === 'Strip' && typeof stop === 'number' && stop > 0
        ? `has stop ${stop}, which fails at shorter tokens; expected 0`
        : null,
    ) ??
    find(json, 'post_processor', templateProblem) ??
    laterTemplate(json) ??
    emptyMatch(json) ??
    shortMerge(json)
  )
}

function find(json: TokenizerJson, field: StepField, problem: (part: Part) => string | null): string | null {
  for (const part of stepsIn(json, field)) {
    const found = problem(part)
    if (found) return `${field} ${part.type} ${found}`
  }
  return null
}

function templateProblem({ type, single, special_tokens }: Part): string | null {
  if (type !== 'TemplateProcessing' || !Array.isArray(single)) return null
  const known = (special_tokens ?? {}) as Record<string, unknown>
  for (const { SpecialToken, Sequence } of single as Record<string, { id?: unknown } | undefined>[]) {
    if (Sequence && Sequence.id !== 'A')
      return `names the sequence ${shown(Sequence.id)} in "single", expected A`
    if (SpecialToken && !Object.hasOwn(known, String(SpecialToken.id)))
      return `names the token ${shown(SpecialToken.id)}, which its special_tokens lack`
  }
  return null
}

function laterTemplate(json: TokenizerJson): string | null {
  const types = stepsIn(json, 'post_processor').map(({ type }) => type)
  const first = types.findIndex((type) => ADDS_TOKENS.includes(type))
  return first >= 0 && types.lastIndexOf('TemplateProcessing') > first
    ? `post_processor TemplateProcessing comes after ${types[first]}, expected at most one that adds tokens`
    : null
}

/** Text put in where a pattern matched nothing has no place in the text from before, which later steps look for. */
function emptyMatch(json: TokenizerJson): string | null {
  const normalizers = stepsIn(json, 'normalizer')
  const byteLevel = stepsIn(json, 'pre_tokenizer').some(({ type }) => type === 'ByteLevel')
  const found = normalizers.find(({ type, pattern }, i) => {
    const { Regex: source } = (pattern ?? {}) as { Regex?: unknown }
    const isLast = i === normalizers.length - 1 && !byteLevel
    return type === 'Replace' && typeof source === 'string' && !isLast && matchesNothing(source)
  })
  return found
    ? `normalizer Replace has the pattern ${shown(found.pattern)}, which matches the empty text, before another step; expected it as the last`
    : null
}

function matchesNothing(source: string): boolean {
  try {
    return [...'a1 \né日'.matchAll(new RegExp(source, 'gu'))].some(([match]) => match === '')
  } catch {
    return false // another dialect's: the library says itself whether it is one
  }
}

function shortMerge(json: TokenizerJson): string | null {
  const { continuing_subword_prefix: prefix, merges } = (json.model ?? {}) as Record<string, unknown>
  if (typeof prefix !== 'string' || prefix === '' || !Array.isArray(merges)) return null
  const bytes = (text: string) => new TextEncoder().encode(text).length
  for (const merge of merges) {
    const right = Array.isArray(merge) ? merge[1] : String(merge).split(' ')[1]
    if (typeof right === 'string' && bytes(right) < bytes(prefix))
      return `model BPE merges with ${shown(right)}, expected its continuing_subword_prefix ${shown(prefix)} before it`
  }
  return null
}

/** A length in 4 bytes, so many bytes of numbers, and text (spm_precompiled: lib.rs). */
function isCharsmap(base64: unknown): boolean {
  if (typeof base64 !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return false
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  if (bytes.length < 4) return false
  const size = new DataView(bytes.buffer).getUint32(0, true)
  if (size % 4 !== 0 || 4 + size > bytes.length) return false
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(4 + size))
    return true
  } catch {
    return false
  }
}
