import { setImmediate as nextTurn } from 'node:timers/promises'
import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../src/backend/backend.ts'
import type { Dtype } from '../../src/backend/dtypes.ts'
import { onBackend } from '../../src/backend/on-backend.ts'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { loadWeights, weightSource } from '../../src/checkpoint/load.ts'
import { LARGEST_ARRAY } from '../../src/checkpoint/pack.ts'
import { dequantised } from '../../src/checkpoint/quantised.ts'
import { quantizedInMemory } from '../../src/checkpoint/quantize.ts'
import { storedFrom } from '../../src/checkpoint/save.ts'
import type { Checkpoint } from '../../src/checkpoint/shards.ts'
import { QUANTIZE_DEFAULTS } from '../../src/checkpoint/widths.ts'
import { bytesByWidth, WIDTHS, type Width } from '../../src/cost/widths.ts'
import { gigabytes, type MemoryLimit, memoryProblem } from '../../src/device/memory.ts'
import { InputError } from '../../src/errors.ts'
import { type LoadedModel, readConfig } from '../../src/load-model.ts'
import type { Executor } from '../../src/model/ways.ts'
import { allTensors, type ModelWeights } from '../../src/model/weights.ts'
import { MeasuredModel } from './measured-model.ts'
import { type TimeLimit, TookTooLong } from './time-limit.ts'

/** The same model with its matrices held in a width. */
export class HeldModel extends MeasuredModel {
  private readonly owned: ModelWeights | null

  /** `weights` are its own; null: those of the model as it is loaded. */
  constructor(
    loaded: LoadedModel,
    readonly width: Width,
    weights: ModelWeights | null,
  ) {
    super(loaded.config, weights ?? loaded.weights, width === 'bfloat16' ? width : 'float32')
    this.owned = weights
  }

  override dispose(): void {
    super.dispose()
    if (this.owned) tf.dispose(allTensors(this.owned))
  }
}

/** Read as the model was, and rounded as `quantize` rounds, which leaves no file. */
async function weightsIn(
  { dir, config, runtime }: LoadedModel,
  width: Width,
  limit: TimeLimit,
  signal: AbortSignal,
): Promise<ModelWeights> {
  const { config: published, family, quantisation } = readConfig(dir)
  const stored = openCheckpoint(dir, (name) => family.ignored(name, published))
  const load = (checkpoint: Checkpoint, dtype: Dtype | 'auto') =>
    onBackend(runtime.backend, () =>
      loadWeights(checkpoint, config, family, { dtype, onHost: backend().onCard }),
    )
  try {
    const checkpoint = dequantised(stored, quantisation)
    const { size } = WIDTHS[width]
    if (typeof size === 'number') return load(checkpoint, width as Dtype)
    const values = storedFrom(weightSource(checkpoint, config, family), config)
    const options = { ...size, keep: QUANTIZE_DEFAULTS.keep }
    const steps = quantizedInMemory({ dir, config, family, values }, options)
    const watch = limit.watch()
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done) return load(step.value, 'auto')
      watch(step.value)
      await nextTurn(undefined, { signal })
    }
  } finally {
    stored.close()
  }
}

/** Where a model is held in widths. */
export interface Place {
  loaded: LoadedModel
  /** The first is measured. */
  executors: readonly Executor[]
  memory: MemoryLimit
}

/** The model in a width, or why it is not to be had. */
export async function holdIn(
  width: Width,
  place: Place,
  limit: TimeLimit,
  signal: AbortSignal,
): Promise<HeldModel | string> {
  const { loaded } = place
  const problem = widthProblem(width, place)
  if (problem !== null) return problem
  if (width === 'float32' && loaded.dtype === 'float32') return new HeldModel(loaded, width, null)
  try {
    return new HeldModel(loaded, width, await weightsIn(loaded, width, limit, signal))
  } catch (error) {
    if (signal.aborted) return 'interrupted'
    if (error instanceof InputError) return error.message
    if (error instanceof TookTooLong) return `quantising it ${error.message}`
    throw error
  }
}

function widthProblem(width: Width, { loaded, executors, memory }: Place): string | null {
  const { config, dir, runtime } = loaded
  const { name, size } = WIDTHS[width]
  if (loaded.expertReads) return 'its experts stay on disk'
  const bytes = bytesByWidth(config).find((one) => one.width === width)
  if (!bytes) return `rows of its matrices are no whole number of groups of ${QUANTIZE_DEFAULTS.group}`
  if (width !== 'float32') {
    if (runtime.backend !== 'tensorflow')
      return `${runtime.device} holds weights in float32 alone, not in ${name}`
    if (executors[0] === 'eager') return `op by op ${name} are widened to float32 at every use`
    if (typeof size !== 'number') {
      if (runtime.device === 'cuda') return `a card widens ${name} when it loads them`
      if (readConfig(dir).quantisation) return 'it is quantised already'
      if (bytes.stored > LARGEST_ARRAY) {
        return `${name} take ${gigabytes(bytes.stored)} GB, and an array holds ${gigabytes(LARGEST_ARRAY)}`
      }
    }
  }
  return memoryProblem(bytes.stored, memory)
}
