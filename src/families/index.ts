import { ConfigError } from '../errors.ts'
import type { ModelConfig, ModelShape } from '../model/config.ts'
import { shown } from '../text/foreign.ts'
import { COUNTED } from './counted.ts'
import type { Family, RunnableFamily } from './family.ts'
import { glm4Moe } from './glm4-moe.ts'
import { llama } from './llama.ts'
import { mixtral } from './mixtral.ts'
import { type Quantisation, quantisationOf } from './quantisation.ts'

/** Every published architecture that is known: those that run, and those that can be counted only. */
export const FAMILIES: readonly Family[] = [mixtral, llama, glm4Moe, ...COUNTED]

const RUNNABLE = FAMILIES.filter((family) => family.runnable)

/** The family that a config.json says it is, if the engine runs it. */
export function familyOf(json: unknown, file: string): RunnableFamily {
  const modelType = typeOf(json)
  const family = FAMILIES.find((f) => f.modelType === modelType)
  if (family?.runnable) return family
  const sentence = unknownType(modelType, RUNNABLE, file)
  throw new ConfigError(family ? `${sentence}; it can be inspected, not run (${family.reason})` : sentence)
}

/**
 * The config of a model that is to run, its family, and how its weights are quantised.
 * @throws ConfigError naming `file` and the field: also for a quantisation that cannot be read
 */
export function runnableConfig(
  json: unknown,
  file: string,
): { config: ModelConfig; family: RunnableFamily; quantisation: Quantisation | null } {
  const family = familyOf(json, file)
  const quantisation = quantisationOf(json as Record<string, unknown>, file)
  return { config: family.parseConfig(json, file), family, quantisation }
}

/** The family of a config that was parsed or made here. */
export function familyNamed(modelType: string): RunnableFamily {
  const family = RUNNABLE.find((f) => f.modelType === modelType)
  if (!family) throw new Error(`no family ${modelType}`)
  return family
}

/**
 * What a config.json describes, whether or not the engine runs it. Of a multimodal one its `text_config`; modules for
 * multi-token prediction, vision and audio are left out.
 * @throws ConfigError naming `file` and the field
 */
export function shapeFromJson(json: unknown, file: string): { shape: ModelShape; runnable: boolean } {
  const outer = json as { text_config?: unknown } | null
  const decoder = typeOf(outer?.text_config) ? outer?.text_config : outer
  const modelType = typeOf(decoder)
  const family = FAMILIES.find((f) => f.modelType === modelType)
  if (!family) {
    const known = [...FAMILIES].sort((a, b) => (a.modelType < b.modelType ? -1 : 1))
    throw new ConfigError(unknownType(modelType, known, file))
  }
  return { shape: family.parseConfig(decoder, file), runnable: family.runnable }
}

function typeOf(json: unknown): unknown {
  return (json as { model_type?: unknown } | null | undefined)?.model_type
}

function unknownType(modelType: unknown, families: readonly Family[], file: string): string {
  const found = modelType === undefined ? 'is missing' : `is ${shown(modelType)}`
  const known = families.map((f) => f.modelType).join(', ')
  return `${file}: "model_type" ${found}, expected one of ${known}`
}
