import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { CheckpointError, messageOf } from '../errors.ts'
import { entryAt, shownPath } from '../files.ts'
import { isJsonObject, parseStrictJson, quote } from './json.ts'
import { type CheckpointTensor, openSafetensors, type SafetensorsFile } from './safetensors.ts'

export const SINGLE_FILE = 'model.safetensors'
export const INDEX_FILE = 'model.safetensors.index.json'

const WEIGHT_FILE = /\.(safetensors|bin|pt|pth|ckpt|gguf|ggml|h5|msgpack|onnx|npz)$|\.index\.json$/
const MAX_NAMES_SHOWN = 5

/** The weights of a model directory, in one file or several. */
export interface Checkpoint {
  readonly dir: string
  /** Size of all tensors in the files. */
  readonly totalBytes: number
  names(): string[]
  has(name: string): boolean
  /** CheckpointError where there is no such tensor. */
  get(name: string): CheckpointTensor
  /** Closes the files; its tensors cannot be read after. */
  close(): void
}

/**
 * Opens the weights of a Hugging Face model directory: `model.safetensors`, else the shards that
 * `model.safetensors.index.json` names. Where both exist the single file wins, as in transformers
 * (`_get_resolved_checkpoint_files`). CheckpointError where neither exists, or where the index and its shards disagree
 * on a single tensor. The index's `metadata.total_size` is not checked: nothing depends on it.
 */
export function openCheckpoint(dir: string): Checkpoint {
  if (dir !== '' && entryAt(join(dir, SINGLE_FILE), CheckpointError)) {
    const file = openSafetensors(join(dir, SINGLE_FILE))
    return checkpointOf(dir, [file])
  }
  if (dir !== '' && entryAt(join(dir, INDEX_FILE), CheckpointError)) return openIndexed(dir)
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory())
    for (const name of [SINGLE_FILE, INDEX_FILE]) refuseBrokenLink(join(dir, name))
  throw new CheckpointError(describeMissing(dir))
}

/** A cache of downloads holds links; one whose target is gone would read as a file that is there and not there. */
function refuseBrokenLink(file: string): void {
  const isLink = lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink()
  if (isLink && !existsSync(file)) throw new CheckpointError(`${file}: is a link to a file that is not there`)
}

function openIndexed(dir: string): Checkpoint {
  const index = join(dir, INDEX_FILE)
  const weightMap = readWeightMap(index)
  const shards = [...new Set(weightMap.values())].sort()
  const missing = shards.filter((shard) => !existsSync(join(dir, shard)))
  if (missing.length > 0) {
    throw new CheckpointError(
      `${index}: names ${listNames(missing)}, which ${isOrAre(missing)} not in ${dir}`,
    )
  }
  const files: SafetensorsFile[] = []
  try {
    for (const shard of shards) {
      files.push(openSafetensors(join(dir, shard)))
      checkShard(index, shard, files.at(-1)!, weightMap)
    }
    return checkpointOf(dir, files)
  } catch (error) {
    for (const file of files) file.close()
    throw error
  }
}

/** Tensor name to shard file name. */
function readWeightMap(index: string): Map<string, string> {
  const json = parseStrictJson(`${index}:`, readIndex(index))
  const weightMap = isJsonObject(json) ? json.weight_map : undefined
  if (!isJsonObject(weightMap)) throw new CheckpointError(`${index}: has no object "weight_map"`)
  const entries = Object.entries(weightMap)
  if (entries.length === 0) throw new CheckpointError(`${index}: "weight_map" is empty`)
  for (const [name, shard] of entries) {
    if (typeof shard !== 'string' || !isPlainFileName(shard)) {
      const shown = typeof shard === 'string' ? quote(shard) : typeof shard
      throw new CheckpointError(
        `${index}: puts ${quote(name)} in ${shown}, expected the name of a file beside the index`,
      )
    }
  }
  return new Map(entries as [string, string][])
}

function readIndex(index: string): Uint8Array {
  try {
    return readFileSync(index)
  } catch (error) {
    throw new CheckpointError(`${index}: cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

/** An index from elsewhere must not reach outside its directory, on any operating system. */
function isPlainFileName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\\:\0]/.test(name)
}

function checkShard(
  index: string,
  shard: string,
  file: SafetensorsFile,
  weightMap: Map<string, string>,
): void {
  const held = new Set(file.tensors.map((tensor) => tensor.name))
  const absent = [...weightMap].filter(([name, of]) => of === shard && !held.has(name)).map(([name]) => name)
  if (absent.length > 0) {
    throw new CheckpointError(
      `${index}: puts ${listNames(absent)} in ${shard}, which does not hold ${itOrThem(absent)}`,
    )
  }
  for (const name of held) {
    const of = weightMap.get(name)
    if (of === undefined)
      throw new CheckpointError(`${index}: does not name ${quote(name)}, which ${shard} holds`)
    if (of !== shard) {
      throw new CheckpointError(
        `${index}: puts ${quote(name)} in ${of}, but ${shard} holds a tensor of that name`,
      )
    }
  }
}

function checkpointOf(dir: string, files: SafetensorsFile[]): Checkpoint {
  const tensors = new Map(files.flatMap((file) => file.tensors.map((tensor) => [tensor.name, tensor])))
  return {
    dir,
    totalBytes: [...tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0),
    names: () => [...tensors.keys()],
    has: (name) => tensors.has(name),
    get(name) {
      const tensor = tensors.get(name)
      if (!tensor) throw new CheckpointError(`${dir}: no tensor ${quote(name)} among its ${tensors.size}`)
      return tensor
    },
    close() {
      for (const file of files) file.close()
    },
  }
}

function describeMissing(dir: string): string {
  const expected = `expected ${SINGLE_FILE}, or ${INDEX_FILE} with its shards`
  const stat = statSync(dir, { throwIfNoEntry: false })
  if (!stat) return `${shownPath(dir)}: no such directory; ${expected} in it`
  if (!stat.isDirectory()) return `${dir}: is not a directory; ${expected} in one`
  const found = readdirSync(dir).filter((name) => WEIGHT_FILE.test(name))
  if (found.length === 0) return `${dir}: no weights found; ${expected}`
  const others = found.filter((name) => !name.endsWith('.safetensors'))
  const unsupported = others.length > 0 ? ' (only safetensors is supported)' : ''
  return `${dir}: found ${listNames(found.sort())}${unsupported}; ${expected}`
}

function listNames(names: string[]): string {
  const more = names.length - MAX_NAMES_SHOWN
  const shown = names.slice(0, MAX_NAMES_SHOWN).map(quote).join(', ')
  return more > 0 ? `${shown} and ${more} more` : shown
}

function isOrAre(names: string[]): string {
  return names.length === 1 ? 'is' : 'are'
}

function itOrThem(names: string[]): string {
  return names.length === 1 ? 'it' : 'them'
}
