import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseStrictJson } from '../src/checkpoint/json.ts'
import { type ArchitectureSpec, type MixtureSpec, mixturesOf } from '../src/cost/architecture.ts'
import { architectureFromJson } from '../src/cost/config-json.ts'
import { findPublished, nearNames, publishedArchitecture } from '../src/cost/published.ts'
import { ConfigError, InputError, messageOf } from '../src/errors.ts'
import type { LayerDims } from './types.ts'

/** Scaled widths are rounded to multiples of this, so that products stay of sizes that kernels like. */
const MULTIPLE = 8

/** Sizes of a layer, and in words where they come from. */
export interface LayerChoice {
  dims: LayerDims
  source: string
}

/**
 * The mixture layer of a model, D and H scaled, E and K kept. `model` is a published one's name, a directory, or a
 * config.json. Where its mixture layers differ, the most common one.
 * @throws InputError or ConfigError for a model that is not known or has no mixture layer
 */
export function layerLike(model: string, scale: number): LayerChoice {
  const { name, spec } = architectureNamed(model)
  const { numExperts: E, topK: K, width } = mostCommon(mixturesOf(spec), name)
  const scaled = (size: number) => Math.max(MULTIPLE, MULTIPLE * Math.round((size * scale) / MULTIPLE))
  if (scale === 1) {
    return { dims: { D: spec.hiddenSize, H: width, E, K }, source: `a layer of ${name}` }
  }
  return {
    dims: { D: scaled(spec.hiddenSize), H: scaled(width), E, K },
    source: `a layer of ${name} (D=${spec.hiddenSize} H=${width}) with D and H times ${fraction(scale)}, to multiples of ${MULTIPLE}`,
  }
}

function architectureNamed(model: string): { name: string; spec: ArchitectureSpec } {
  if (existsSync(model)) {
    const file = statSync(model).isDirectory() ? join(model, 'config.json') : model
    return { name: model, spec: architectureFromJson(readConfig(file), file) }
  }
  const published = findPublished(model)
  if (published) return { name: published.name, spec: publishedArchitecture(published) }
  throw new InputError(
    `--like ${model}: no such directory or file, and no published model of that name; near: ${nearNames(model).join(', ')}`,
  )
}

function readConfig(file: string): unknown {
  try {
    return parseStrictJson(file, readFileSync(file))
  } catch (error) {
    throw new ConfigError(`--like ${file}: cannot be read as a config.json (${messageOf(error)})`)
  }
}

function mostCommon(mixtures: MixtureSpec[], name: string): MixtureSpec {
  const key = ({ numExperts, topK, width }: MixtureSpec) => [numExperts, topK, width].join()
  const times = (mixture: MixtureSpec) => mixtures.filter((other) => key(other) === key(mixture)).length
  const [first] = [...mixtures].sort((a, b) => times(b) - times(a))
  if (!first) throw new InputError(`--like ${name}: has no layer with experts`)
  return first
}

/** 1/16 for 0.0625, the number itself where it is no such fraction. */
function fraction(scale: number): string {
  const inverse = 1 / scale
  return Math.abs(inverse - Math.round(inverse)) < 1e-9 ? `1/${Math.round(inverse)}` : String(scale)
}
