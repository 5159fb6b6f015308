import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseStrictJson } from '../checkpoint/json.ts'
import { isJsonObject } from '../checks.ts'
import { ConfigError, InputError, messageOf } from '../errors.ts'
import { shapeFromJson } from '../families/index.ts'
import { entryAt, shownPath } from '../files.ts'
import { bundledDirectory } from '../package.ts'
import type { CostDtype } from './bytes.ts'
import { findPublished, nearNames } from './find-published.ts'
import { publishedShape } from './published.ts'

/** A model that was named, whatever by. */
export type NamedModel = ReturnType<typeof modelNamed>

/**
 * The model that a directory, a config.json, a bundled model's name (as `bundledDirectory` takes it), or a published model's
 * (as `findPublished` does) stands for: its name (of a published one the whole, else the path as given), shape and type of weights
 * (float32 for what the engine runs, else as published, or bfloat16).
 * @throws InputError for a name that none or several have; ConfigError or CheckpointError, naming the file, for a config
 * that cannot be read or counted
 */
export function modelNamed(name: string) {
  const path = bundledDirectory(name) ?? name
  const there = entryAt(path, InputError)
  if (there) {
    const file = there.isDirectory() ? join(path, 'config.json') : path
    const json = readConfig(file)
    const { shape, runnable } = shapeFromJson(json, file)
    const dtype: CostDtype = runnable ? 'float32' : 'bfloat16'
    return { name, shape, dtype, published: null }
  }
  const published = findPublished(name)
  if (!published) {
    throw new InputError(
      `${shownPath(name)}: no such directory or file, and no bundled or published model of that name; near: ${nearNames(name).join(', ')}`,
    )
  }
  return { name: published.name, shape: publishedShape(published), dtype: published.dtype, published }
}

function readConfig(file: string): unknown {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(file)
  } catch (error) {
    throw new ConfigError(`${file}: cannot be read (${messageOf(error)}), expected the model's config`)
  }
  const json = parseStrictJson(file, bytes)
  if (!isJsonObject(json)) throw new ConfigError(`${file}: is no JSON object, expected the model's config`)
  return json
}
