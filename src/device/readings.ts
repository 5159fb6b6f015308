import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { cacheBytes } from './processor-cache.ts'

export type MachineReadings = Awaited<ReturnType<MachineReader['read']>>

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

/** A product of matrices, ready to run; it owns what it multiplies with. */
export interface Product {
  run(): tf.Tensor
  dispose(): void
}

/** Reads how fast the active backend is, as often as it is asked. Owns tensors: `dispose()` when done. */
export class MachineReader {
  private readonly factor: tf.Tensor2D
  private readonly vector: tf.Tensor
  private readonly product: Product

  /** `productOf`: how a square matrix is multiplied with its like, where that is not in float32. */
  constructor(productOf: (square: tf.Tensor2D) => Product = floatProduct) {
    const { name, onCard } = backend()
    const { matmul, vector } = onCard ? CARD_SIZES : (SIZES[name] ?? SIZES.wasm)
    this.factor = tf.fill([matmul, matmul], 1.5)
    this.product = productOf(this.factor)
    const beyondCaches = name === 'tensorflow' ? (2 * cacheBytes(onCard)) / 4 : 0
    this.vector = tf.fill([Math.max(vector, beyondCaches)], 1.5)
  }

  /** Takes about `seconds`: medians of repetitions, each ended by reading a result back. */
  async read(seconds: number) {
    const [n] = this.factor.shape
    const vectorBytes = 4 * this.vector.size
    const matmulMs = await medianMs(() => this.product.run(), seconds / 2)
    const sumMs = await medianMs(() => tf.sum(this.vector), seconds / 2)
    return {
      /** Square matrix product of `matmulSize`, in float32 but where a bench asks for another type: 2 n^3 operations a product. */
      matmulGflops: (2 * n ** 3) / matmulMs / 1e6,
      /** Sum of a float32 vector of `vectorBytes`, beyond the caches: each byte is read once, none written. */
      memoryGbPerS: vectorBytes / sumMs / 1e6,
      matmulSize: n,
      vectorBytes,
    }
  }

  dispose(): void {
    this.product.dispose()
    tf.dispose([this.factor, this.vector])
  }
}

function floatProduct(square: tf.Tensor2D): Product {
  return { run: () => tf.matMul(square, square), dispose: () => {} }
}

/** One reading, in about `seconds`. */
export async function measureMachine(seconds = 1) {
  const reader = new MachineReader()
  try {
    return await reader.read(seconds)
  } finally {
    reader.dispose()
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
