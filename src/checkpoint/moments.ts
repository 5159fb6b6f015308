import * as tf from '@tensorflow/tfjs-core'
import { type ErrorFactor, errorFactor } from './gptq.ts'

/** Rows that are summed up at once, at least: a product of few is slow, and an expert gets few of each text. */
const ROWS_AT_ONCE = 1024

/** Numbers that `Moments` of so many matrices with n inputs hold at most, whichever of them the rows go to. */
export function momentNumbers(n: number, { matrices, rows }: { matrices: number; rows: number }): number {
  const held = Math.min(rows, matrices * rowsAtOnce(n))
  return 2 * held * n // sums, which are there once rows were summed up, are no more than these
}

function rowsAtOnce(n: number): number {
  return Math.max(n, ROWS_AT_ONCE)
}

/** Sums x x^T of a matrix's inputs x [n], given some rows at a time; what it holds does not grow with them. */
export class Moments {
  private readonly rows: Float32Array
  private length = 0
  private sums: Float32Array | null = null

  constructor(private readonly n: number) {
    this.rows = new Float32Array(rowsAtOnce(n) * n) // given by the system as it is filled
  }

  /** Rows [any, n]. */
  add(rows: Float32Array): void {
    for (let begin = 0; begin < rows.length; ) {
      const part = rows.subarray(begin, begin + this.rows.length - this.length)
      this.rows.set(part, this.length)
      this.length += part.length
      begin += part.length
      if (this.length === this.rows.length) this.sumUp()
    }
  }

  /** Null where there were no rows, as of an expert that no token was sent to, or none that are numbers. */
  factor(): ErrorFactor | null {
    if (this.length > 0) this.sumUp()
    return this.sums?.every(Number.isFinite) ? errorFactor(this.sums, this.n) : null
  }

  private sumUp(): void {
    const { n, sums } = this
    const made = tf.tidy(() => {
      const x = tf.tensor2d(this.rows.subarray(0, this.length), [this.length / n, n])
      return tf.matMul(x, x, true).dataSync() as Float32Array
    })
    this.length = 0
    if (sums) for (let i = 0; i < sums.length; i++) sums[i] += made[i]
    else this.sums = made.slice()
  }
}
