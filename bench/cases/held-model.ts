import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../src/backend/backend.ts'
import { onBackend } from '../../src/backend/on-backend.ts'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { loadWeights } from '../../src/checkpoint/load.ts'
import { LARGEST_ARRAY } from '../../src/checkpoint/pack.ts'
import { dequantised } from '../../src/checkpoint/quantised.ts'
import { quantizedInMemory } from '../../src/checkpoint/quantize.ts'
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

  /** @throws InputError where the model's matrices cannot be held so, TookTooLong where rounding them takes too long */
  constructor(
    loaded: LoadedModel,
    readonly width: Width,
    limit: TimeLimit,
  ) {
    const isSame = width === 'float32' && loaded.dtype === 'float32'
    const weights = isSame ? loaded.weights : weightsIn(loaded, width, limit.watch())
    super(loaded.config, weights, width === 'bfloat16' ? width : 'float32')
    this.owned = isSame ? null : weights
  }

  override dispose(): void {
    super.dispose()
    if (this.owned) tf.dispose(allTensors(this.owned))
  }
}

/** Read as the model was, and rounded as `quantize` rounds, which leaves no file. */
function weightsIn(
  { dir, config, runtime }: LoadedModel,
  width: Width,
  onShare: (share: number) => void,
): ModelWeights {
  const { config: published, family, quantisation } = readConfig(dir)
  const stored = openCheckpoint(dir, (name) => family.ignored(name, published))
  try {
    const checkpoint = dequantised(stored, quantisation)
    const { size } = WIDTHS[width]
    const [from, dtype] =
      typeof size === 'number'
        ? [checkpoint, width as 'float32' | 'bfloat16']
        : [
            quantizedInMemory(
              { checkpoint, config, family },
              { ...size, keep: QUANTIZE_DEFAULTS.keep },
              onShare,
            ),
            'auto' as const,
          ]
    return onBackend(runtime.backend, () =>
      loadWeights(from, config, family, { dtype, onHost: backend().onCard }),
    )
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
export function holdIn(width: Width, place: Place, limit: TimeLimit): HeldModel | string {
  const problem = widthProblem(width, place)
  if (problem !== null) return problem
  try {
    return new HeldModel(place.loaded, width, limit)
  } catch (error) {
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
      if (runtime.device === 'cuda') return `a card widens ${name} to float32 when it loads them`
      if (readConfig(dir).quantisation) return 'it is quantised already'
      if (bytes.stored > LARGEST_ARRAY) {
        return `${name} take ${gigabytes(bytes.stored)} GB, and an array holds ${gigabytes(LARGEST_ARRAY)}`
      }
    }
  }
  return memoryProblem(bytes.stored, memory)
}
