import { gigabytes, type MemoryLimit, memoryProblem } from '../device/memory.ts'
import { InputError } from '../errors.ts'
import type { ModelConfig } from '../model/config.ts'
import { sum } from '../sums.ts'
import type { TrainSettings } from './settings.ts'

/** What a step keeps of each token until its gradients are known, in numbers a unit of width. Measured: docs/training.md. */
const KEPT = { hidden: 38, feedForward: 13, logits: 19, scores: 5 }

/** TensorFlow, this program and the smallest model, before the first step. */
const PROCESS_BYTES = 0.6e9

/** What a training step holds, in float32: up to a quarter too little, and more where experts are many. */
export function stepBytes(config: ModelConfig, { rows, length }: { rows: number; length: number }): number {
  const { hiddenSize: D, vocabSize: V, layers } = config
  const widths = layers.map(({ feedForward }) =>
    feedForward.kind === 'dense'
      ? feedForward.intermediateSize
      : feedForward.router.topK * feedForward.intermediateSize +
        (feedForward.sharedExpert?.intermediateSize ?? 0),
  )
  const heads = sum(layers.map(({ attention }) => attention.numHeads))
  const perToken =
    KEPT.hidden * D * layers.length +
    KEPT.scores * heads * length +
    KEPT.feedForward * sum(widths) +
    KEPT.logits * V
  return 4 * rows * length * perToken
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
