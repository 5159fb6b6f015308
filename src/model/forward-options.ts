import { assertNames, assertObject, assertOneOf, assertThat } from '../checks.ts'
import { KvCache } from './kv-cache.ts'
import type { Interventions } from './router/types.ts'
import type { TraceOptions } from './trace.ts'
import { DISPATCHES, type DispatchName } from './ways.ts'

export interface ForwardOptions {
  /** Continue after what this cache holds, and add the new tokens to it. */
  cache?: KvCache
  /** Hand out what the routers decided; `true` or options. */
  trace?: boolean | TraceOptions
  /** Per sequence, 1 for a token and 0 for (left) padding; needed only when the rows of `tokens` are already padded. */
  attentionMask?: number[][]
  /** How experts are run; default: the model's. */
  dispatch?: DispatchName | 'auto'
  /** Changes to routing for this call. */
  interventions?: Interventions
  /** `last`: logits of each sequence's last token only, which is all that generating needs. Default `all`. */
  logits?: 'all' | 'last'
}

/** Names by type: one that the type gains or loses does not compile here. */
const OPTIONS = {
  cache: 0,
  trace: 0,
  attentionMask: 0,
  dispatch: 0,
  interventions: 0,
  logits: 0,
} satisfies Record<keyof ForwardOptions, 0>

/**
 * The arguments of a forward: TensorFlow's own words for such mistakes do not help, or it takes them for something else.
 * @throws InputError naming the argument, its value and what was expected
 */
export function checkCall(tokens: unknown, options: ForwardOptions): void {
  const isList = Array.isArray(tokens) || (ArrayBuffer.isView(tokens) && 'length' in tokens)
  const text = typeof tokens === 'string' ? '; model.tokenizer.encode makes them of a text' : ''
  assertThat('tokens', tokens, isList, `token ids such as [1, 49, 80]${text}`)
  assertObject('options', options, 'an object with options of forward')
  assertNames('options', options, OPTIONS)
  const { cache, trace = false, attentionMask = [], dispatch = 'auto', logits = 'all' } = options
  assertOneOf('dispatch', dispatch, [...DISPATCHES, 'auto'])
  assertOneOf('logits', logits, ['all', 'last'])
  if (typeof trace !== 'boolean') assertObject('trace', trace, 'true, false or { hiddenStates }')
  const isCache = cache === undefined || cache instanceof KvCache
  assertThat('cache', cache, isCache, 'what model.createCache() returns')
  const isMask = Array.isArray(attentionMask) && attentionMask.every(Array.isArray)
  assertThat('attentionMask', attentionMask, isMask, 'a list of 0 and 1 a sequence')
}
