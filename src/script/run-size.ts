import { BYTES_PER_WEIGHT, cacheNumbers } from '../cost/bytes.ts'
import { memoryLimit, memoryProblem } from '../device/memory.ts'
import type { RuntimeReport } from '../device/report.ts'
import { InputError } from '../errors.ts'
import type { ModelConfig } from '../model/config.ts'
import { counted } from '../text/units.ts'

export interface RunSize {
  sequences: number
  /** Of each, prompt and new ones; as many as the model has positions at most. */
  tokens: number
  /** All tokens go through the model in one call, and their logits are read: not only the last one's. */
  whole?: boolean
}

/**
 * Whether a run's keys and values, and what else grows with its tokens, fit in memory.
 * @throws InputError; `flags` are those that say how much, with their values
 */
export function checkRunSize(
  flags: string,
  { config, runtime }: { config: ModelConfig; runtime: Pick<RuntimeReport, 'device' | 'memoryBytes'> },
  size: RunSize,
): void {
  const tokens = Math.min(size.tokens, config.maxPositionEmbeddings)
  const bytes = size.sequences * sequenceBytes(config, tokens, size.whole === true)
  const problem = memoryProblem(bytes, memoryLimit(runtime))
  if (problem !== null) throw new InputError(`${flags}: a run of ${counted(tokens, 'token')} ${problem}`)
}

/** Keys and values; of a whole call also the scores of attention, before and after softmax, and logits here and there. */
function sequenceBytes(config: ModelConfig, tokens: number, whole: boolean): number {
  const cache = cacheNumbers(config, tokens)
  const heads = Math.max(...config.layers.map(({ attention }) => attention.numHeads))
  const call = whole ? 2 * tokens * (heads * tokens + config.vocabSize) : 0
  return BYTES_PER_WEIGHT * (cache + call)
}
