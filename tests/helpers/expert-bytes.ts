import { loadModel } from '../../src/load-model.ts'
import { logitsOf } from './logits.ts'

/** What one expert of a model takes in memory, and all of them. */
export async function expertBytes(dir: string): Promise<{ one: number; all: number }> {
  const model = await loadModel(dir, { device: 'cpu', executor: 'eager', expertsOnDisk: 1e12 })
  logitsOf(model.forward([1], { dispatch: 'dense' })) // needs each once
  const { bytes, misses } = model.expertReads!
  model.dispose()
  return { one: bytes / misses, all: bytes }
}
