import { isJsonObject } from '../checks.ts'
import { CheckpointError } from '../errors.ts'
import { listNames, parseStrictJson, quote } from './json.ts'
import { type CheckpointTensor, readSafetensors, type SafetensorsFile } from './safetensors.ts'
import type { ModelFiles } from './source.ts'

export const SINGLE_FILE = 'model.safetensors'
export const INDEX_FILE = 'model.safetensors.index.json'

/** Whether a tensor of this name means nothing to the model: an index and its shards may disagree on it. */
export type Meaningless = (name: string) => boolean

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
 * The weights of a Hugging Face model directory: `model.safetensors`, else the shards that
 * `model.safetensors.index.json` names. Where both exist the single file wins, as in transformers
 * (`_get_resolved_checkpoint_files`). CheckpointError where neither exists, or where the index and its shards disagree
 * on a single tensor that has a meaning. The index's `metadata.total_size` is not checked: nothing depends on it.
 */
export function readCheckpoint(files: ModelFiles, meaningless: Meaningless = () => false): Checkpoint {
  if (files.has(SINGLE_FILE)) return checkpointOf(files.dir, [readSafetensors(files.open(SINGLE_FILE))])
  if (files.has(INDEX_FILE)) return readIndexed(files, meaningless)
  throw new CheckpointError(files.withoutWeights(`expected ${SINGLE_FILE}, or ${INDEX_FILE} with its shards`))
}

function readIndexed(files: ModelFiles, meaningless: Meaningless): Checkpoint {
  const index = files.at(INDEX_FILE)
  const weightMap = readWeightMap(index, files.bytes(INDEX_FILE))
  const shards = shardNames(weightMap)
  const missing = shards.filter((shard) => !files.has(shard))
  if (missing.length > 0) {
    throw new CheckpointError(
      `${index}: names ${listNames(missing)}, which ${isOrAre(missing)} not in ${files.dir}`,
    )
  }
  const opened: SafetensorsFile[] = []
  try {
    for (const shard of shards) {
      opened.push(readSafetensors(files.open(shard)))
      checkShard(index, shard, opened.at(-1)!, weightMap, meaningless)
    }
    return checkpointOf(files.dir, opened)
  } catch (error) {
    for (const file of opened) file.close()
    throw error
  }
}

/** Files that an index names. */
export function shardNames(weightMap: Map<string, string>): string[] {
  return [...new Set(weightMap.values())].sort()
}

/** Tensor name to shard file name. `index` is how messages call the file. */
export function readWeightMap(index: string, bytes: Uint8Array): Map<string, string> {
  const json = parseStrictJson(`${index}:`, bytes)
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

/** An index from elsewhere must not reach outside its directory, on any operating system. */
function isPlainFileName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\\:\0]/.test(name)
}

function checkShard(
  index: string,
  shard: string,
  file: SafetensorsFile,
  weightMap: Map<string, string>,
  meaningless: Meaningless,
): void {
  const held = new Set(file.tensors.map((tensor) => tensor.name))
  const absent = [...weightMap]
    .filter(([name, of]) => of === shard && !held.has(name) && !meaningless(name))
    .map(([name]) => name)
  if (absent.length > 0) {
    throw new CheckpointError(
      `${index}: puts ${listNames(absent)} in ${shard}, which does not hold ${itOrThem(absent)}`,
    )
  }
  for (const name of held) {
    if (meaningless(name)) continue
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

function isOrAre(names: string[]): string {
  return names.length === 1 ? 'is' : 'are'
}

function itOrThem(names: string[]): string {
  return names.length === 1 ? 'it' : 'them'
}
