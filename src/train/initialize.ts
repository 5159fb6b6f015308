import { eachStored, packWeights } from '../checkpoint/pack.ts'
import { Random } from '../corpus/random.ts'
import type { ModelConfig } from '../model/config.ts'
import type { StoredTensor } from '../model/tensor-spec.ts'
import { weightTable } from '../model/weight-table.ts'
import type { ModelWeights } from '../model/weights.ts'
import { product } from '../sums.ts'

/** GPT-2's: every matrix normal with this standard deviation, unless it writes to the residual stream. */
const STANDARD_DEVIATION = 0.02

/**
 * Random weights on the active backend. Each tensor draws from a stream of its own, so it depends on the seed and its
 * name alone.
 */
export function initWeights(config: ModelConfig, seed: number): ModelWeights {
  const read = (tensor: StoredTensor, target: Float32Array) => fillInitial(tensor, target, config, seed)
  return packWeights(weightTable(config), eachStored(read))
}

/** The same of one stored tensor. */
export function initialValues(tensor: StoredTensor, config: ModelConfig, seed: number): Float32Array {
  const values = new Float32Array(product(tensor.shape))
  fillInitial(tensor, values, config, seed)
  return values
}

/** Norms are one, biases zero; what writes to the residual stream is scaled by 1/sqrt(2L), for 2L writes add up. */
function fillInitial(
  { name, shape }: StoredTensor,
  target: Float32Array,
  { layers }: ModelConfig,
  seed: number,
): void {
  if (shape.length === 1) {
    target.fill(name.endsWith('Norm') ? 1 : 0)
    return
  }
  const writesResidual = name.endsWith('.attention.o') || name.endsWith('.down')
  const deviation = STANDARD_DEVIATION / (writesResidual ? Math.sqrt(2 * layers.length) : 1)
  const random = new Random(`${seed}/init/${name}`)
  for (let i = 0; i < target.length; i++) target[i] = random.normal() * deviation
}
