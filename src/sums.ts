export function sum(values: Iterable<number>): number {
  let total = 0
  for (const value of values) total += value
  return total
}

/** Of a shape: how many values it holds. */
export function product(values: Iterable<number>): number {
  let total = 1
  for (const value of values) total *= value
  return total
}

/** NaN for none. */
export function mean(values: readonly number[]): number {
  return sum(values) / values.length
}
