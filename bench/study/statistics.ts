import { deviation, max, mean, min } from 'd3-array'

/** 97.5 % points of Student's t for 1 to 30 degrees of freedom (the usual printed table). */
const T_975 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
]

export type Spread = ReturnType<typeof spreadOf>

/** Of values that are one a seed, in the order of the seeds. @throws Error when there is no value */
export function spreadOf(values: number[]) {
  if (values.length === 0) throw new Error('spreadOf: no values')
  return {
    values,
    mean: mean(values)!,
    min: min(values)!,
    max: max(values)!,
    /** Of a single seed, with n - 1; null for one seed. */
    standardDeviation: deviation(values) ?? null,
  }
}

/** 95 % interval of the mean by Student's t; nulls for a single value. Above 31 values the table's last point, a little wide. */
export function meanInterval({ values, mean, standardDeviation }: Spread) {
  if (standardDeviation === null) return { low: null, high: null }
  const n = values.length
  const half = (T_975[Math.min(n - 2, T_975.length - 1)] * standardDeviation) / Math.sqrt(n)
  return { low: mean - half, high: mean + half }
}
