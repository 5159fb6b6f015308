import type { Clamp, GroupedShape } from '../../src/model/config.ts'
import type { Routing } from '../../src/model/router/types.ts'

/**
 * The layers by their definition: plain loops, one token and one number at a time, in float64. Slow on purpose.
 * Every fast path is tested against these.
 */

/** A matrix as rows of numbers. */
export type Matrix = number[][]

/** x W for one row. W [in, out]. */
export function rowTimes(x: number[], weight: Matrix, bias: number[] | null = null): number[] {
  return weight[0].map((_, o) => x.reduce((sum, value, i) => sum + value * weight[i][o], bias ? bias[o] : 0))
}

/** `down(silu(gate(x)) * up(x))` for one token. gate, up [D, H], down [H, D]. */
export interface ReferenceExpert {
  gate: Matrix
  up: Matrix
  down: Matrix
}

export function expertReference(x: number[], { gate, up, down }: ReferenceExpert): number[] {
  const g = rowTimes(x, gate)
  const u = rowTimes(x, up)
  return rowTimes(
    g.map((z, h) => (z / (1 + Math.exp(-z))) * u[h]),
    down,
  )
}

/** An expert with biases and bounds (gpt-oss): of the gate g = min(gate, limit), of up u within plus and minus limit. */
export interface ReferenceClampedExpert extends ReferenceExpert {
  biases: { gate: number[]; up: number[]; down: number[] }
  clamp: Clamp
}

/** `down(g sigmoid(alpha g) * (u + 1))` for one token. */
export function clampedExpertReference(x: number[], expert: ReferenceClampedExpert): number[] {
  const { biases, clamp } = expert
  const g = rowTimes(x, expert.gate, biases.gate).map((z) => Math.min(z, clamp.limit))
  const u = rowTimes(x, expert.up, biases.up).map((z) => Math.min(Math.max(z, -clamp.limit), clamp.limit))
  const hidden = g.map((z, h) => (z / (1 + Math.exp(-clamp.alpha * z))) * (u[h] + 1))
  return rowTimes(hidden, expert.down, biases.down)
}

/** y[t] = sum over the chosen experts of weight * expert(x[t]). Tests compare each dispatch with this one. */
export function moeReference<Expert = ReferenceExpert>(
  x: Matrix,
  experts: Expert[],
  routing: Routing,
  apply: (x: number[], expert: Expert) => number[] = expertReference as never,
): Matrix {
  const K = routing.expertIndices.length / x.length
  return x.map((token, t) => {
    const y = new Array<number>(token.length).fill(0)
    for (let j = t * K; j < (t + 1) * K; j++) {
      apply(token, experts[routing.expertIndices[j]]).forEach((value, d) => {
        y[d] += routing.expertWeights[j] * value
      })
    }
    return y
  })
}

/**
 * Attention of one sequence: q [T, Nq, d] over k, v [S, Nk, d], all rotated already; the last T keys are the queries'
 * own. Returns [T, Nq d]. A query at key c sees key j when `c - W < j <= c`, and both are of one chunk. `sinks` [Nq] join the
 * softmax without a value.
 */
export function attentionReference(
  q: Matrix[],
  k: Matrix[],
  v: Matrix[],
  config: GroupedShape,
  sinks?: number[],
): Matrix {
  const { numHeads, numKeyValueHeads, headDim, slidingWindow, chunk } = config
  const window = slidingWindow ?? Number.POSITIVE_INFINITY
  const chunkOf = (c: number) => (chunk ? Math.floor(c / chunk) : 0)
  return q.map((heads, t) => {
    const own = k.length - q.length + t
    return heads.flatMap((query, h) => {
      const shared = Math.floor(h / (numHeads / numKeyValueHeads))
      const seen = [...k.keys()].filter((j) => j <= own && j > own - window && chunkOf(j) === chunkOf(own))
      const exps = seen.map((j) => Math.exp(dot(query, k[j][shared]) / Math.sqrt(headDim)))
      const sum = exps.reduce((a, b) => a + b, sinks ? Math.exp(sinks[h]) : 0)
      return query.map((_, d) => seen.reduce((mix, j, i) => mix + (exps[i] / sum) * v[j][shared][d], 0))
    })
  })
}

function dot(a: number[], b: number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0)
}

/** Rotary embedding of one head at a position: pairs (x_i, x_{i+d/2}) turned by `position * theta^(-2i/d)`. */
export function ropeReference(x: number[], position: number, theta: number): number[] {
  const half = x.length / 2
  return x.map((value, i) => {
    const angle = position * theta ** (-(2 * (i % half)) / x.length)
    return i < half
      ? value * Math.cos(angle) - x[i + half] * Math.sin(angle)
      : value * Math.cos(angle) + x[i - half] * Math.sin(angle)
  })
}

/** RMSNorm of one row. */
export function rmsNormReference(x: number[], weight: number[], eps: number): number[] {
  const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length
  return x.map((value, d) => (value / Math.sqrt(meanSquare + eps)) * weight[d])
}
