export interface ScheduleSettings {
  /** Steps of the whole training. */
  steps: number
  /** Steps in which the rate rises in a straight line to the peak. */
  warmup: number
  peak: number
  /** The last rate as a share of the peak. */
  floor: number
}

/** Learning rate of a step (from 0): a warm-up, then half a cosine from the peak to the floor (Loshchilov and Hutter 2017). */
export function learningRate(step: number, { steps, warmup, peak, floor }: ScheduleSettings): number {
  if (step < warmup) return (peak * (step + 1)) / warmup
  const done = Math.min(1, (step - warmup) / Math.max(1, steps - 1 - warmup))
  return peak * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * done)))
}
