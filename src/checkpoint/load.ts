import { CheckpointError } from '../errors.ts'
import type { RunnableFamily } from '../families/family.ts'
import { ourNames, publishedNames } from '../families/names.ts'
import type { ModelConfig } from '../model/config.ts'
import { ExpertStack, type StoredTensor } from '../model/tensor-spec.ts'
import { leaves } from '../model/tree.ts'
import { storedTensors, type WeightTable, weightTable } from '../model/weight-table.ts'
import type { ModelWeights } from '../model/weights.ts'
import { excerpt } from '../text/foreign.ts'
import { quote } from './json.ts'
import { type PackOptions, packWeights } from './pack.ts'
import type { CheckpointTensor } from './safetensors.ts'
import type { Checkpoint } from './shards.ts'

/** Missing tensors that are counted; of so many the exact number tells nothing more. */
const MANY_MISSING = 1000
/** Numbers that are compared at once. */
const ROW_NUMBERS = 1 << 18
/** Our names of the two matrices that may be one. */
const EMBEDDING = 'embedding'
const UNEMBEDDING = 'unembedding'

/**
 * The config as the weights have it. A file of a tied model may hold an `lm_head.weight` all the same: of the embedding's values it
 * says nothing new, of others it is what the model was saved with, and used.
 * @returns the config to load with, and what is to be remarked on
 */
export function configOfWeights(
  checkpoint: Checkpoint,
  config: ModelConfig,
  family: RunnableFamily,
): { config: ModelConfig; remarks: string[] } {
  if (!config.tieWordEmbeddings) return { config, remarks: [] }
  const { found } = translated(checkpoint, config, family)
  const [embedding, unembedding] = [found.get(EMBEDDING), found.get(UNEMBEDDING)]
  if (!embedding || !unembedding || sameValues(embedding, unembedding)) return { config, remarks: [] }
  return {
    config: { ...config, tieWordEmbeddings: false },
    remarks: [
      `${checkpoint.dir}: config.json has "tie_word_embeddings" true, but ${quote(unembedding.name)} is not ${quote(embedding.name)}: used as it is`,
    ],
  }
}

/** Row by row, as both may be large. */
function sameValues(a: CheckpointTensor, b: CheckpointTensor): boolean {
  if (a.shape.join() !== b.shape.join()) return false
  const rows = a.shape[0]
  const step = Math.max(1, Math.floor(ROW_NUMBERS / Math.max(1, a.shape[1])))
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row)
    const other = b.readSlice(row, count)
    if (a.readSlice(row, count).some((value, i) => !Object.is(value, other[i]))) return false
  }
  return true
}

/**
 * Reads a checkpoint's tensors onto the active device, one at a time, so that no second copy of the model exists.
 * @throws CheckpointError for a tensor that is missing, left over, given twice or misshapen
 */
export function loadWeights(
  checkpoint: Checkpoint,
  config: ModelConfig,
  family: RunnableFamily,
  options: PackOptions = {},
): ModelWeights {
  const table = weightTable(config)
  const { found, leftOver } = translated(checkpoint, config, family)
  if (config.tieWordEmbeddings) found.delete(UNEMBEDDING) // the same, by configOfWeights
  const stacked = leaves(table).some(
    ([, leaf]) => leaf instanceof ExpertStack && found.has(leaf.whole.gateUp.weight.stored[0].name),
  )
  checkComplete(checkpoint, found, leftOver, { table, stacked, family })
  const read = ({ name }: StoredTensor, target: Float32Array, entry?: number) => {
    const tensor = found.get(name) as CheckpointTensor
    if (entry === undefined) tensor.read(target)
    else tensor.readSlice(entry, 1, target)
  }
  return packWeights(table, { stacked, read }, options)
}

/** The file's tensors by our names, and those that no name was found for. */
function translated(
  checkpoint: Checkpoint,
  config: ModelConfig,
  { names, ignored }: RunnableFamily,
): { found: Map<string, CheckpointTensor>; leftOver: string[] } {
  const found = new Map<string, CheckpointTensor>()
  const leftOver: string[] = []
  const ourName = ourNames(names)
  for (const name of checkpoint.names()) {
    if (ignored(name, config)) continue
    const ours = ourName(name)
    if (ours === null) {
      leftOver.push(name)
      continue
    }
    const twin = found.get(ours)
    if (twin)
      throw new CheckpointError(
        `${checkpoint.dir}: ${quote(twin.name)} and ${quote(name)} are the same weight, expected one`,
      )
    found.set(ours, checkpoint.get(name))
  }
  return { found, leftOver }
}

/** None missing, none left over, all of the right shape. */
function checkComplete(
  { dir }: Checkpoint,
  found: Map<string, CheckpointTensor>,
  unknown: string[],
  { table, stacked, family }: { table: WeightTable; stacked: boolean; family: RunnableFamily },
): void {
  const expected = new Map<string, number[]>()
  const missing: string[] = []
  const publishedName = publishedNames(family.names)
  for (const { name, shape } of storedTensors(table, stacked)) {
    expected.set(name, shape)
    if (!found.has(name)) missing.push(publishedName(name) ?? name)
    if (missing.length === MANY_MISSING) break // a config that asks for a billion experts fails as fast
  }
  if (missing.length > 0) {
    const prefix = strangePrefix(missing, unknown)
    if (prefix) throw new CheckpointError(`${dir}: ${prefix}`)
    throw new CheckpointError(`${dir}: ${listed(missing)} missing, config.json asks for it`)
  }
  const strange = [...found].filter(([name]) => !expected.has(name)).map(([, { name }]) => name)
  const leftOver = [...unknown, ...strange]
  if (leftOver.length > 0) {
    throw new CheckpointError(`${dir}: ${listed(leftOver)} left over, config.json has no place for it`)
  }
  for (const [name, shape] of expected) checkShape(found.get(name) as CheckpointTensor, shape)
}

/** What to say of names that would be right with more or less before them, as wrappers and parts of a model are saved. */
function strangePrefix(missing: string[], unknown: string[]): string | null {
  const absent = new Set(missing)
  for (const name of unknown) {
    const inner = [...name.matchAll(/\./g)].map(({ index }) => name.slice(index + 1))
    const right = inner.find((end) => absent.has(end))
    if (right)
      return `${quote(name)} is there, expected ${quote(right)} without the prefix ${quote(name.slice(0, -right.length))}`
    const longer = missing.find((wanted) => wanted.endsWith(`.${name}`))
    if (longer) {
      return `${quote(name)} is there, expected ${quote(longer)} with the prefix ${quote(longer.slice(0, -name.length))}`
    }
  }
  return null
}

function checkShape(tensor: CheckpointTensor, expected: number[]): void {
  if (tensor.shape.join() !== expected.join()) {
    throw new CheckpointError(
      `${tensor.file}: ${quote(tensor.name)} has shape [${excerpt(tensor.shape.join(', '))}], expected [${expected.join(', ')}] by config.json`,
    )
  }
}

function listed(names: string[]): string {
  const shown = names.slice(0, 3).map(quote).join(', ')
  const atLeast = names.length >= MANY_MISSING ? 'at least ' : ''
  return names.length > 3
    ? `${shown} and ${atLeast}${names.length - 3} more tensors are`
    : `${shown} ${names.length > 1 ? 'are' : 'is'}`
}
