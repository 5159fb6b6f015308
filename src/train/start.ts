import { basename, resolve } from 'node:path'
import { readConfig } from '../load-model.ts'
import type { ModelConfig } from '../model/config.ts'
import { type PresetName, presetOf, type SizeName } from './presets.ts'

/** What a training begins with: a preset, or a model, which is needed then only. */
export interface Start {
  /** Null where it begins with a model. */
  preset: PresetName | null
  size: SizeName
  /** The directory of the model whose weights it begins with; null: random ones. */
  from: string | null
}

/** @throws ConfigError where the model's cannot be read */
export function configOf({ preset, size, from }: Start): ModelConfig {
  return preset !== null ? presetOf({ preset, size }).config : readConfig(from!).config
}

/** What it is, for a sentence. */
export function summaryOf({ preset, size, from }: Start): string {
  return preset !== null ? presetOf({ preset, size }).summary : `begun with the weights of ${nameOf(from!)}`
}

/** `moe`, or `moe, small`: which model a card or a picture is about. */
export function titleOf({ preset, size, from }: Start): string {
  return `${preset ?? nameOf(from!)}${size === 'full' ? '' : `, ${size}`}`
}

function nameOf(dir: string): string {
  return basename(resolve(dir))
}
