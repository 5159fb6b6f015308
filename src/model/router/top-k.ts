/** Indices of the k largest values, largest first; a tie goes to the lower index. */
export function topK(values: Float32Array, k: number): number[] {
  return Array.from(values.keys())
    .sort((a, b) => values[b] - values[a] || a - b)
    .slice(0, k)
}

/** Softmax in float64, rounded to float32; minus infinity gets 0. */
export function softmax(logits: ArrayLike<number>): Float32Array {
  const max = Math.max(...Array.from(logits))
  const exps = Array.from(logits, (z) => Math.exp(z - max))
  const sum = exps.reduce((a, b) => a + b, 0)
  return Float32Array.from(exps, (e) => e / sum)
}
