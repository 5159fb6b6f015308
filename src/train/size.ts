import { gigabytes, type MemoryLimit, memoryProblem } from '../device/memory.ts'
import { InputError } from '../errors.ts'
import { attentionFacts } from '../model/attention/facts.ts'
import type { ModelConfig } from '../model/config.ts'
import { sum } from '../sums.ts'
import type { TrainSettings } from './settings.ts'

/**
 * What a step keeps of each token until its gradients are known, in numbers: a unit of heads and of the feed-forward that it goes through, a
 * word, a head and key, an expert chosen. Fitted to what was measured: docs/training.md.
 */
const KEPT = { heads: 82, feedForward: 11.5, logits: 8, scores: 3.6, assigned: 1600 }

/** TensorFlow, this program and the smallest model, before the first step. */
const PROCESS_BYTES = 0.6e9

/** What a training step holds, in float32: up to 30 % too little, or a fifth too much. */
export function stepBytes(config: ModelConfig, { rows, length }: { rows: number; length: number }): number {
  const numbers = config.layers.map(({ attention, feedForward }) => {
    const topK = feedForward.kind === 'dense' ? 0 : feedForward.router.topK
    const width =
      feedForward.kind === 'dense'
        ? feedForward.intermediateSize
        : topK * feedForward.intermediateSize + (feedForward.sharedExpert?.intermediateSize ?? 0)
    const wide = attentionFacts(attention).scores(attention, 1, false) / 4 // two multiply-adds a unit of heads
    return (
      KEPT.heads * wide +
      KEPT.scores * attention.numHeads * length +
      KEPT.feedForward * width +
      KEPT.assigned * topK
    )
  })
  return 4 * rows * length * (sum(numbers) + KEPT.logits * config.vocabSize)
}

/**
 * Whether trainings of these settings, so many at a time, have the positions and the memory.
 * @throws InputError naming flags, values and what they would take
 */
export function checkTrainingSize(
  config: ModelConfig,
  settings: Pick<TrainSettings, 'rows' | 'length'>,
  limit: MemoryLimit,
  jobs = 1,
): void {
  const { rows, length } = settings
  if (length > config.maxPositionEmbeddings) {
    throw new InputError(
      `--length ${length}: expected at most ${config.maxPositionEmbeddings}, the positions of the model`,
    )
  }
  const step = stepBytes(config, settings)
  const problem = memoryProblem(jobs === 1 ? step : jobs * (step + PROCESS_BYTES), limit)
  if (problem === null) return
  const each = jobs === 1 ? 'a step' : `--jobs ${jobs}, each with a step of ${gigabytes(step)} GB,`
  throw new InputError(`--batch ${rows} --length ${length}: ${each} ${problem}`)
}
