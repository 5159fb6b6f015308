import type { RopeConfig } from './config.ts'

/**
 * Rotation frequencies of the n/2 channel pairs: `theta^(-2i/n)` (Su et al. 2021), stretched as the config asks.
 * Rounded to float32 step by step as the reference does, so that long positions agree with it.
 */
export function ropeFrequencies({ theta, scaling, rotaryDim }: RopeConfig, headDim: number): Float32Array {
  const n = rotaryDim ?? headDim
  const plain = Float32Array.from({ length: n / 2 }, (_, i) =>
    Math.fround(1 / Math.fround(theta ** ((2 * i) / n))),
  )
  switch (scaling.type) {
    case 'default':
      return plain
    case 'linear':
      return plain.map((f) => f / scaling.factor)
    case 'llama3':
      return plain.map((f) => llama3Frequency(f, scaling))
    case 'yarn':
      return yarnFrequencies(plain, theta, scaling)
    case 'longrope':
      return plain.map((f, i) => f / scaling.factors[i])
  }
}

type Yarn = Extract<RopeConfig['scaling'], { type: 'yarn' }>

/** YaRN (Peng et al. 2023): channels that turn often keep their frequency, slow ones are stretched, a ramp between. */
function yarnFrequencies(plain: Float32Array, theta: number, scaling: Yarn): Float32Array {
  const { factor, betaFast, betaSlow, truncate, originalMaxPositionEmbeddings: O } = scaling
  const n = 2 * plain.length
  const bound = (turns: number) => (n * Math.log(O / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const [lowest, highest] = [bound(betaFast), bound(betaSlow)]
  const low = Math.max(truncate ? Math.floor(lowest) : lowest, 0)
  const high = Math.min(truncate ? Math.ceil(highest) : highest, n - 1)
  const span = high === low ? 0.001 : high - low
  return plain.map((f, i) => {
    const ramp = Math.min(Math.max((i - low) / span, 0), 1)
    return (f / factor) * ramp + f * (1 - ramp)
  })
}

/** What yarn multiplies by, at a weight of its own: `0.1 weight ln(factor) + 1`. */
export function yarnMagnitude(factor: number, weight: number): number {
  return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1
}

/** Llama 3.1's stretch: long wavelengths divided by `factor`, short ones kept, a linear blend between. */
function llama3Frequency(f: number, scaling: Extract<RopeConfig['scaling'], { type: 'llama3' }>): number {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = scaling
  const wavelength = (2 * Math.PI) / f
  if (wavelength > originalMaxPositionEmbeddings / lowFreqFactor) return f / factor
  if (wavelength < originalMaxPositionEmbeddings / highFreqFactor) return f
  const smooth =
    (originalMaxPositionEmbeddings / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
  return ((1 - smooth) * f) / factor + smooth * f
}
