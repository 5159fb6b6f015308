import { ConfigError } from '../errors.ts'
import type { ModelConfig, ModelShape } from '../model/config.ts'
import { shown } from '../text/foreign.ts'
import { nearest } from '../text/nearest.ts'
import { COUNTED } from './counted.ts'
import { dbrx } from './dbrx.ts'
import { deepseekV2 } from './deepseek-v2.ts'
import { deepseekV3 } from './deepseek-v3.ts'
import type { Family, RunnableFamily } from './family.ts'
import { glm4Moe } from './glm4-moe.ts'
import { gptOss } from './gpt-oss.ts'
import { graniteMoe } from './granitemoe.ts'
import { kimiK2 } from './kimi-k2.ts'
import { llama } from './llama.ts'
import { llama4Text } from './llama4-text.ts'
import { mixtral } from './mixtral.ts'
import { olmoe } from './olmoe.ts'
import { phimoe } from './phimoe.ts'
import { type Quantisation, quantisationOf } from './quantisation.ts'
import { qwen2Moe } from './qwen2-moe.ts'
import { qwen3Moe } from './qwen3-moe.ts'

/** Every published architecture that is known: those that run, and those that can be counted only. */
export const FAMILIES: readonly Family[] = [
  mixtral,
  llama,
  glm4Moe,
  deepseekV3,
  kimiK2,
  deepseekV2,
  qwen3Moe,
  qwen2Moe,
  olmoe,
  gptOss,
  graniteMoe,
  phimoe,
  llama4Text,
  dbrx,
  ...COUNTED,
]

const RUNNABLE = FAMILIES.filter((family) => family.runnable)

/** The family that a config.json says it is, if the engine runs it. */
export function familyOf(json: unknown, file: string): RunnableFamily {
  const modelType = typeOf(json)
  const family = FAMILIES.find((f) => f.modelType === modelType)
  if (family?.runnable) return family
  const sentence = unknownType(modelType, RUNNABLE, file)
  throw new ConfigError(
    family
      ? `${sentence}; it can be inspected, not run (${family.reason})`
      : `${sentence}${nearestOf(modelType, RUNNABLE)}`,
  )
}

/**
 * The config of a model that is to run, its family, and how its weights are stored. Of a multimodal one its `text_config`.
 * @throws ConfigError naming `file` and the field: also for a quantisation that cannot be read
 */
export function runnableConfig(
  json: unknown,
  file: string,
): { config: ModelConfig; family: RunnableFamily; quantisation: Quantisation | null } {
  const decoder = decoderJson(json)
  const family = familyOf(decoder, file)
  const quantisation = quantisationOf(json as Record<string, unknown>, file)
  return { config: family.parseConfig(decoder, file), family, quantisation }
}

/** The family of a config that was parsed or made here. */
export function familyNamed(modelType: string): RunnableFamily {
  const family = RUNNABLE.find((f) => f.modelType === modelType)
  if (!family) throw new Error(`no family ${modelType}`)
  return family
}

/** The config.json of a model that was made here. */
export function formatted(config: ModelConfig): Record<string, unknown> {
  const { formatConfig } = familyNamed(config.family)
  if (!formatConfig) throw new Error(`models of family ${config.family} are not made here`)
  return formatConfig(config)
}

/**
 * What a config.json describes, whether or not the engine runs it. Of a multimodal one its `text_config`; modules for
 * multi-token prediction, vision and audio are left out.
 * @throws ConfigError naming `file` and the field
 */
export function shapeFromJson(json: unknown, file: string): { shape: ModelShape; runnable: boolean } {
  const decoder = decoderJson(json)
  const modelType = typeOf(decoder)
  const family = FAMILIES.find((f) => f.modelType === modelType)
  if (!family) {
    const known = [...FAMILIES].sort((a, b) => (a.modelType < b.modelType ? -1 : 1))
    throw new ConfigError(`${unknownType(modelType, known, file)}${nearestOf(modelType, known)}`)
  }
  return { shape: family.parseConfig(decoder, file), runnable: family.runnable }
}

/** Of a multimodal model's config the part about its decoder. */
export function decoderJson(json: unknown): unknown {
  const outer = json as { text_config?: unknown } | null
  return typeOf(outer?.text_config) ? outer?.text_config : json
}

function typeOf(json: unknown): unknown {
  return (json as { model_type?: unknown } | null | undefined)?.model_type
}

function unknownType(modelType: unknown, families: readonly Family[], file: string): string {
  const found = modelType === undefined ? 'is missing' : `is ${shown(modelType)}`
  return `${file}: "model_type" ${found}, expected one of ${families.map((f) => f.modelType).join(', ')}`
}

function nearestOf(modelType: unknown, families: readonly Family[]): string {
  if (typeof modelType !== 'string') return ''
  const names = families.map((f) => f.modelType)
  return `; the nearest is ${nearest(modelType, names)[0]}`
}
