import type { ModelConfig } from '../model/config.ts'
import type { NameRule } from './names.ts'

/** One published architecture: how its config.json and its tensor names read. Knows no files and no tensors. */
export interface Family {
  /** `model_type` in config.json. */
  modelType: string
  /** Throws ConfigError naming `file` and the field. */
  parseConfig(json: unknown, file: string): ModelConfig
  /** The config.json that `parseConfig` reads back to the same config. */
  formatConfig(config: ModelConfig): Record<string, unknown>
  names: NameRule[]
  /** Whether a tensor may be there and means nothing. */
  ignored(name: string, config: ModelConfig): boolean
}
