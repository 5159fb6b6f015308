import { z } from 'zod'
import { isJsonObject } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import type { RopeConfig, RopeScaling } from '../model/config.ts'
import { yarnMagnitude } from '../model/rope-frequencies.ts'
import { excerpt, shown } from '../text/foreign.ts'
import { positive, positiveInt } from './fields.ts'

export const share = z.number().positive().max(1)

export const ropeObject = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: positive.nullish(),
  factor: positive.nullish(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  beta_fast: positive.nullish(),
  beta_slow: positive.nullish(),
  truncate: z.boolean().nullish(),
  attention_factor: positive.nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  original_max_position_embeddings: positiveInt.optional(),
  partial_rotary_factor: share.optional(),
  short_factor: z.array(positive).optional(),
  short_mscale: positive.optional(),
})

type RopeSettings = z.output<typeof ropeObject>

/** Of families' fields what rotary settings are made of. */
interface RopeFields {
  rope_theta?: number | null
  rope_parameters?: RopeSettings | null
  rope_scaling?: RopeSettings | null
  original_max_position_embeddings?: number
  max_position_embeddings: number
  partial_rotary_factor?: number | null
}

/**
 * Rotary settings from either dialect, as transformers counts them (`convert_rope_params_to_dict`): a `rope_scaling` that is not
 * empty stands in the place of the whole `rope_parameters`, and `rope_theta` beside them serves where the one that counts has none.
 */
export function ropeOf(c: RopeFields, defaultTheta: number, file: string): RopeConfig {
  const where = ropeField(c)
  const rope = ropeSettings(c)
  const theta = firstGiven(rope.rope_theta, c.rope_theta, defaultTheta)
  if (theta === null) throw new ConfigError(`${file}: "rope_theta" is null, expected a number above 0`)
  const nested = Object.keys(rope).find((key) => isJsonObject(rope[key]))
  if (nested) {
    throw new ConfigError(
      `${file}: "${where}.${excerpt(nested)}" is an object, expected one set of rotary settings for all layers`,
    )
  }
  const scaling = scalingOf(rope, where, c, file)
  return { theta, scaling, ...(scaling.type === 'yarn' && { magnitude: magnitudeOf(rope, scaling.factor) }) }
}

/** What yarn multiplies by what it rotates. */
function magnitudeOf(rope: RopeSettings, factor: number): number {
  const { attention_factor: given, mscale, mscale_all_dim: allDim } = rope
  if (given) return given
  return mscale && allDim
    ? yarnMagnitude(factor, mscale) / yarnMagnitude(factor, allDim)
    : yarnMagnitude(factor, 1)
}

/** The object of rotary settings that counts. */
export function ropeSettings(c: Pick<RopeFields, 'rope_scaling' | 'rope_parameters'>): RopeSettings {
  return c[ropeField(c)] ?? {}
}

function ropeField(c: Pick<RopeFields, 'rope_scaling'>): 'rope_scaling' | 'rope_parameters' {
  return Object.keys(c.rope_scaling ?? {}).length > 0 ? 'rope_scaling' : 'rope_parameters'
}

function scalingOf(rope: RopeSettings, where: string, c: RopeFields, file: string): RopeScaling {
  const type = rope.rope_type ?? rope.type ?? 'default'
  const need = (key: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const value = rope[key]
    if (value == null)
      throw new ConfigError(`${file}: "${where}.${key}" is missing, expected a number for rope_type ${type}`)
    return value
  }
  const originalMaxPositionEmbeddings = firstGiven(
    c.original_max_position_embeddings,
    rope.original_max_position_embeddings,
    c.max_position_embeddings,
  )
  const scalings: Record<string, () => RopeScaling> = {
    default: () => ({ type: 'default' }),
    linear: () => ({ type: 'linear', factor: need('factor') }),
    llama3: () => ({
      type: 'llama3',
      factor: need('factor'),
      lowFreqFactor: need('low_freq_factor'),
      highFreqFactor: need('high_freq_factor'),
      originalMaxPositionEmbeddings,
    }),
    yarn: () => ({
      type: 'yarn',
      factor:
        rope.factor === null ? c.max_position_embeddings / originalMaxPositionEmbeddings : need('factor'),
      betaFast: rope.beta_fast ?? 32,
      betaSlow: rope.beta_slow ?? 1,
      truncate: rope.truncate ?? true,
      originalMaxPositionEmbeddings,
      ...(rope.mscale_all_dim && { mscaleAllDim: rope.mscale_all_dim }),
    }),
  }
  const scaling = Object.hasOwn(scalings, type) ? scalings[type] : undefined
  if (scaling) return scaling()
  const known = Object.keys(scalings).join(', ')
  throw new ConfigError(`${file}: "${where}.rope_type" is ${shown(type)}, expected one of ${known}`)
}

/** The same for families that rotate whole heads. transformers fails at other shares, but for the plain rotation, which knows none. */
export function wholeHeadRopeOf(c: RopeFields, defaultTheta: number, file: string): RopeConfig {
  const rope = ropeOf(c, defaultTheta, file)
  checkWhole(c, rope.scaling.type, file)
  return rope
}

function checkWhole(c: RopeFields, type: string, file: string): void {
  const share = ropeSettings(c).partial_rotary_factor ?? c.partial_rotary_factor ?? 1
  if (share === 1 || type === 'default') return
  throw new ConfigError(`${file}: "partial_rotary_factor" is ${share}, expected 1 with rope_type ${type}`)
}

/** The same for families that rotate a share of each head: a whole number of channels, of which each two are a pair. */
export function partialRopeOf(
  c: RopeFields,
  defaultTheta: number,
  headDim: number,
  file: string,
): RopeConfig {
  const share = ropeSettings(c).partial_rotary_factor ?? c.partial_rotary_factor ?? 1
  const rotaryDim = Math.floor(headDim * share)
  if (rotaryDim > 0 && rotaryDim % 2 === 0) return { ...ropeOf(c, defaultTheta, file), rotaryDim }
  throw new ConfigError(
    `${file}: "partial_rotary_factor" is ${share}, expected a share of head_dim=${headDim} that is an even number`,
  )
}

/**
 * The same for whole heads that rotate plainly or by longrope; with any other type phimoe's class multiplies by `short_mscale`. Beyond
 * the original positions libraries differ, so those are all there are.
 */
export function longropeOf(c: RopeFields, defaultTheta: number, headDim: number, file: string): RopeConfig {
  const where = ropeField(c)
  const { short_factor: factors, short_mscale: magnitude, ...rope } = ropeSettings(c)
  const type = rope.rope_type ?? rope.type ?? 'default'
  if (type === 'default') return ropeOf(c, defaultTheta, file)
  if (type !== 'longrope') {
    throw new ConfigError(`${file}: "${where}.rope_type" is ${shown(type)}, expected default or longrope`)
  }
  checkWhole(c, type, file)
  if (factors?.length !== headDim / 2) {
    throw new ConfigError(
      `${file}: "${where}.short_factor" has ${factors?.length ?? 'no'} numbers, expected ${headDim / 2}, one for each two channels of a head`,
    )
  }
  if (magnitude === undefined)
    throw new ConfigError(`${file}: "${where}.short_mscale" is missing, expected a number`)
  const theta = rope.rope_theta ?? c.rope_theta ?? defaultTheta
  return { theta, scaling: { type: 'longrope', factors }, magnitude }
}

/** The first that is there, be it null. */
function firstGiven<T>(...values: [...(T | undefined)[], T]): T {
  return values.find((value) => value !== undefined) as T
}
