import { expectedTensors, sizeOf } from '../checkpoint/layout.ts'
import { loadWeights } from '../checkpoint/load.ts'
import type { CheckpointTensor } from '../checkpoint/safetensors.ts'
import type { Checkpoint } from '../checkpoint/shards.ts'
import { familyNamed } from '../families/index.ts'
import { publishedName } from '../families/names.ts'
import type { ModelConfig } from '../model/config.ts'
import type { ModelWeights } from '../model/weights.ts'
import { Random } from './random.ts'

/** GPT-2's: every matrix normal with this standard deviation, unless it writes to the residual stream. */
const STANDARD_DEVIATION = 0.02

/**
 * Random weights on the active backend. Each tensor draws from a stream of its own, so it depends on the seed and its
 * name alone.
 */
export function initWeights(config: ModelConfig, seed: number): ModelWeights {
  const family = familyNamed(config.family)
  const tensors = [...expectedTensors(config, false)].map(([ours, shape]) =>
    inMemory(publishedName(family.names, ours)!, shape, () => initialValues(ours, shape, config, seed)),
  )
  return loadWeights(checkpointOf(tensors), config, family)
}

/** Norms are one, biases zero; what writes to the residual stream is scaled by 1/sqrt(2L), for 2L writes add up. */
function initialValues(ours: string, shape: number[], { layers }: ModelConfig, seed: number): Float32Array {
  const size = sizeOf(shape)
  if (shape.length === 1) return new Float32Array(size).fill(ours.endsWith('Norm') ? 1 : 0)
  const writesResidual = ours.endsWith('.attention.o') || ours.endsWith('.down')
  const deviation = STANDARD_DEVIATION / (writesResidual ? Math.sqrt(2 * layers.length) : 1)
  const random = new Random(`${seed}/init/${ours}`)
  return Float32Array.from({ length: size }, () => random.normal() * deviation)
}

function inMemory(name: string, shape: number[], read: () => Float32Array): CheckpointTensor {
  return {
    name,
    file: 'initial weights',
    dtype: 'F32',
    shape,
    bytes: 4 * sizeOf(shape),
    read: (target) => {
      const values = read()
      target?.set(values)
      return target ?? values
    },
    readSlice: (start, count) => {
      const row = sizeOf(shape.slice(1))
      return read().slice(start * row, (start + count) * row)
    },
  }
}

/** Tensors as if they came from a directory, so that one loader lays out the weights of every family. */
function checkpointOf(tensors: CheckpointTensor[]): Checkpoint {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  return {
    dir: 'initial weights',
    totalBytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
    names: () => [...byName.keys()],
    has: (name) => byName.has(name),
    get: (name) => byName.get(name)!,
    close: () => {},
  }
}
