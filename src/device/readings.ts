import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'

export type MachineReadings = Awaited<ReturnType<typeof measureMachine>>

interface Sizes {
  matmul: number
  vector: number
}

/** Big enough to fill the device, small enough for a few repetitions a second on it. */
const SIZES: Record<string, Sizes> = {
  tensorflow: { matmul: 1024, vector: 2 ** 26 },
  wasm: { matmul: 512, vector: 2 ** 24 },
  cpu: { matmul: 192, vector: 2 ** 24 },
}
/** A GPU needs a larger product to be busy, and to outweigh the round trip of reading one number back. */
const CARD_SIZES: Sizes = { matmul: 8192, vector: 2 ** 28 }

/** How fast the active backend is, in about `seconds`: medians of repetitions, each ended by reading a result back. */
export async function measureMachine(seconds = 1) {
  const { name, onCard } = backend()
  const { matmul: n, vector } = onCard ? CARD_SIZES : (SIZES[name] ?? SIZES.wasm)

  const a = tf.fill([n, n], 1.5)
  const matmulMs = await medianMs(() => tf.matMul(a, a), seconds / 2)
  a.dispose()

  const x = tf.fill([vector], 1.5)
  const sumMs = await medianMs(() => tf.sum(x), seconds / 2)
  x.dispose()

  return {
    /** Square float32 matrix product of `matmulSize`: 2 n^3 operations a product. */
    matmulGflops: (2 * n ** 3) / matmulMs / 1e6,
    /** Sum of a float32 vector of `vectorBytes`, beyond the caches: each byte is read once, none written. */
    memoryGbPerS: (4 * vector) / sumMs / 1e6,
    matmulSize: n,
    vectorBytes: 4 * vector,
  }
}

/** Repeats for `seconds`, at least three times after a warm-up. One element is read, else a device may still be at it. */
async function medianMs(run: () => tf.Tensor, seconds: number): Promise<number> {
  const samples: number[] = []
  const end = performance.now() + seconds * 1000
  for (let i = -1; i < 3 || performance.now() < end; i++) {
    const start = performance.now()
    const element = tf.tidy(() => tf.slice(tf.reshape(run(), [-1]), [0], [1]))
    await element.data()
    if (i >= 0) samples.push(performance.now() - start)
    element.dispose()
  }
  samples.sort((left, right) => left - right)
  return samples[Math.floor(samples.length / 2)]
}
