import { ConfigError } from '../errors.ts'
import { shown } from '../text/foreign.ts'
import type { Family } from './family.ts'
import { glm4Moe } from './glm4-moe.ts'
import { llama } from './llama.ts'
import { mixtral } from './mixtral.ts'

export const FAMILIES: readonly Family[] = [mixtral, llama, glm4Moe]

/** The family that a config.json says it is. */
export function familyOf(json: unknown, file: string): Family {
  const modelType = (json as { model_type?: unknown } | null)?.model_type
  const family = FAMILIES.find((f) => f.modelType === modelType)
  if (family) return family
  const known = FAMILIES.map((f) => f.modelType).join(', ')
  const found = modelType === undefined ? 'is missing' : `is ${shown(modelType)}`
  throw new ConfigError(`${file}: "model_type" ${found}, expected one of ${known}`)
}

/** The family of a config that was parsed or made here. */
export function familyNamed(modelType: string): Family {
  const family = FAMILIES.find((f) => f.modelType === modelType)
  if (!family) throw new Error(`no family ${modelType}`)
  return family
}
