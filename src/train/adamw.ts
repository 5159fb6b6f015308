export interface AdamWSettings {
  beta1: number
  beta2: number
  epsilon: number
  /** Share of a weight lost at each step, times the learning rate (as in PyTorch). */
  weightDecay: number
}

/** Running means of a parameter's gradient and of its square, both 0 at first. */
export interface Moments {
  first: Float32Array
  second: Float32Array
}

export function zeroMoments(size: number): Moments {
  return { first: new Float32Array(size), second: new Float32Array(size) }
}

/**
 * Step `t` (from 1) of AdamW (Loshchilov and Hutter 2019, algorithm 2), in place:
 * `w -= lr (m^ / (sqrt(v^) + eps) + decay w)` with `m^ = m / (1 - beta1^t)`, `v^ = v / (1 - beta2^t)`.
 */
export function adamwStep(
  values: Float32Array,
  gradient: Float32Array,
  { first, second }: Moments,
  t: number,
  learningRate: number,
  { beta1, beta2, epsilon, weightDecay }: AdamWSettings,
): void {
  const firstCorrection = 1 / (1 - beta1 ** t)
  const secondCorrection = 1 / (1 - beta2 ** t)
  for (let i = 0; i < values.length; i++) {
    const g = gradient[i]
    const m = beta1 * first[i] + (1 - beta1) * g
    const v = beta2 * second[i] + (1 - beta2) * g * g
    first[i] = m
    second[i] = v
    const direction = (m * firstCorrection) / (Math.sqrt(v * secondCorrection) + epsilon)
    values[i] -= learningRate * (direction + weightDecay * values[i])
  }
}

/**
 * Scales all gradients together so that their common norm is at most `limit` (Pascanu et al. 2013), in place.
 * Returns the norm before.
 */
export function clipByGlobalNorm(gradients: Float32Array[], limit: number): number {
  let squares = 0
  for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) squares += gradient[i] ** 2
  const norm = Math.sqrt(squares)
  if (norm > limit) {
    const scale = limit / norm
    for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) gradient[i] *= scale
  }
  return norm
}
