import type { Spread } from './types.ts'

/** 97.5 % points of Student's t for 1 to 30 degrees of freedom (the usual printed table). */
const T_975 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
]

/** @throws Error when there is no value */
export function spreadOf(values: number[]): Spread {
  if (values.length === 0) throw new Error('spreadOf: no values')
  const mean = values.reduce((a, b) => a + b, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return {
    values,
    mean,
    min: Math.min(...values),
    max: Math.max(...values),
    standardDeviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null,
  }
}

/** 95 % interval of the mean by Student's t; nulls for a single value. Above 31 values the table's last point, a little wide. */
export function meanInterval({ values, mean, standardDeviation }: Spread): {
  low: number | null
  high: number | null
} {
  if (standardDeviation === null) return { low: null, high: null }
  const n = values.length
  const half = (T_975[Math.min(n - 2, T_975.length - 1)] * standardDeviation) / Math.sqrt(n)
  return { low: mean - half, high: mean + half }
}
