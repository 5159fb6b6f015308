/** Row-major [T, width] as T rows. */
export function rowsOf<A extends Float32Array | Int32Array>(values: A, width: number): A[] {
  const T = values.length / width
  return Array.from({ length: T }, (_, t) => values.subarray(t * width, (t + 1) * width) as A)
}
