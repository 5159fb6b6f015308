import type { ModelConfig, ModelShape } from '../model/config.ts'
import { type FieldsOf, type FieldTable, readerOf } from './fields.ts'
import { isStaleBuffer, type NameRule } from './names.ts'

interface Described {
  /** `model_type` in config.json. */
  modelType: string
  /** Throws ConfigError naming `file` and the field. */
  parseConfig(json: unknown, file: string): ModelShape
}

/** A published architecture that the engine runs: how its config.json and its tensor names read. Knows no files and no tensors. */
export interface RunnableFamily extends Described {
  runnable: true
  /** What is made of each field of its config.json. */
  fields: FieldTable
  parseConfig(json: unknown, file: string): ModelConfig
  /** The config.json that `parseConfig` reads back to the same config; of families that are trained here. */
  formatConfig?(config: ModelConfig): Record<string, unknown>
  names: NameRule[]
  /** Whether a tensor may be there and means nothing. */
  ignored(name: string, config: ModelConfig): boolean
}

/** A family by its fields: what they say of the whole decoder, and its layers by their number. */
export function decoderFamily<Table extends FieldTable>({
  modelType,
  fields,
  decoder,
  names,
  ignored = isStaleBuffer,
  formatConfig,
}: {
  modelType: string
  fields: Table
  decoder(c: FieldsOf<Table>, file: string): Omit<ModelConfig, 'family'>
  names: NameRule[]
  ignored?: RunnableFamily['ignored']
  formatConfig?: RunnableFamily['formatConfig']
}): RunnableFamily {
  const read = readerOf(fields)
  const parseConfig = (json: unknown, file: string) => ({
    family: modelType,
    ...decoder(read(json, file), file),
  })
  return {
    runnable: true,
    modelType,
    fields,
    parseConfig,
    names,
    ignored,
    ...(formatConfig && { formatConfig }),
  }
}

/** One of which only the shape is read, so that it can be counted. */
export interface CountedFamily extends Described {
  runnable: false
  /** What of it the engine does not do. */
  reason: string
}

export type Family = RunnableFamily | CountedFamily
