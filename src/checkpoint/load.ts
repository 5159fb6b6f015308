import type { Dtype, HeldDtype } from '../backend/dtypes.ts'
import { type Holding, isHeldAlike, nameOf } from '../backend/holding.ts'
import { CheckpointError } from '../errors.ts'
import type { RunnableFamily } from '../families/family.ts'
import { type PublishedName, publishedNames } from '../families/names.ts'
import type { ModelConfig } from '../model/config.ts'
import type { TensorSpec } from '../model/tensor-spec.ts'
import { tensorSpecs, weightTable } from '../model/weight-table.ts'
import type { ModelWeights } from '../model/weights.ts'
import { product, sum } from '../sums.ts'
import { excerpt } from '../text/foreign.ts'
import { encodeBf16, encodeF16 } from './dtype.ts'
import { quote } from './json.ts'
import { fromPublished, type Held, isAsInModel, publishedShape, rowsFromPublished } from './layout.ts'
import { type HeldSource, type PackOptions, packWeights, type WeightSource } from './pack.ts'
import type { CheckpointTensor } from './safetensors.ts'
import type { Checkpoint } from './shards.ts'

/** Missing tensors that are counted; of so many the exact number tells nothing more. */
const MANY_MISSING = 1000
/** Numbers that are compared at once. */
const ROW_NUMBERS = 1 << 18

export interface LoadWeightsOptions extends PackOptions {
  /** What matrices are held in on TensorFlow, but for those of routers; `auto`: as they are stored. Default: float32. */
  dtype?: Dtype | 'auto'
}

/** Our names of the two matrices that may be one. */
const EMBEDDING = 'embedding'
const UNEMBEDDING = 'unembedding'

/** Where numbers of the model stand in a file. */
interface Found extends Held {
  tensor: CheckpointTensor
  expert: number | null
}

/** A part of one of the model's tensors. */
interface Piece {
  found: Found
  /** Numbers of it. */
  size: number
}

/** Where one of the model's tensors comes from, its parts one after the other. */
type Source = (spec: TensorSpec) => Piece[]

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
  const published = publishedNames(family.names)
  const tensorOf = (ours: string) => presentOf(checkpoint, published(ours))[0]?.tensor
  const [embedding, unembedding] = [tensorOf(EMBEDDING), tensorOf(UNEMBEDDING)]
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
  { dtype = 'float32', ...options }: LoadWeightsOptions = {},
): ModelWeights {
  const found = findAll(checkpoint, config, family)
  const held = {
    holding: (specs: readonly TensorSpec[]) => holdingFor(dtype, specs.flatMap(found)),
    read: heldFrom(found),
  }
  return packWeights(weightTable(config), numbersFrom(found), { held, ...options })
}

/** The names, in the checkpoint, of tensors that hold routed experts. */
export function expertNames(
  checkpoint: Checkpoint,
  config: ModelConfig,
  family: RunnableFamily,
): Set<string> {
  const published = publishedNames(family.names)
  const names = new Set<string>()
  for (const [, { part, name, stored }] of tensorSpecs(weightTable(config))) {
    if (part !== 'experts') continue
    for (const ours of [name, ...stored.map((tensor) => tensor.name)])
      for (const found of presentOf(checkpoint, published(ours))) names.add(found.name)
  }
  return names
}

/** How matrices made of these tensors are held: all as stored, if alike. */
function holdingFor(dtype: Dtype | 'auto', all: readonly Piece[]): Holding | null {
  if (dtype !== 'auto') return dtype === 'float32' ? null : { dtype }
  const { holding } = all[0].found.tensor
  if (!all.every(({ found }) => isHeldAlike(found.tensor.holding, holding))) return null
  return holding?.groups && !all.every(({ found }) => hasRows(found)) ? null : holding
}

/** Whether the rows that a tensor is held in are the model's, in whatever order. */
function hasRows({ tensor, layout }: Found): boolean {
  return (tensor.isHeldTurned ?? false) === (layout.transposed ?? false)
}

/** What most of a checkpoint's bytes are in, of the types that weights may be held in. */
export function storedDtype(checkpoint: Checkpoint): HeldDtype {
  const bytes = new Map<HeldDtype, number>()
  for (const name of checkpoint.names()) {
    const tensor = checkpoint.get(name)
    const dtype = nameOf(tensor.holding)
    bytes.set(dtype, (bytes.get(dtype) ?? 0) + tensor.bytes)
  }
  const [[most] = ['float32' as const]] = [...bytes].sort(([, a], [, b]) => b - a)
  return most
}

/** Reads matrices as they are to be held: the bytes of a file, or its numbers rounded to a half type. */
function heldFrom(source: Source): HeldSource['read'] {
  return (spec, target, holding) => {
    eachPart(source(spec), target, (found, part, size) => {
      const { tensor, expert } = found
      const inOrder = found.groups === 1
      if (isHeldAlike(tensor.holding, holding) && (holding.groups ? hasRows(found) : isAsInModel(found))) {
        const rows = rowsOf(found, size)
        const published = inOrder ? part : new Uint8Array(part.length)
        tensor.readBytes(expert === null ? 0 : expert * rows, rows, published)
        if (!inOrder) rowsFromPublished(found, published, part)
        return
      }
      const values = new Float32Array(size)
      readFound(found, values)
      const bits = new Uint16Array(part.buffer, part.byteOffset, size)
      const encode = holding.dtype === 'bfloat16' ? encodeBf16 : encodeF16
      encode(new Uint32Array(values.buffer), bits)
    })
  }
}

/** Rows of a tensor, along its first axis, that have so many of its numbers: 1 of a stack, or an expert's own. */
function rowsOf({ tensor }: Found, numbers: number): number {
  return (tensor.shape[0] * numbers) / product(tensor.shape)
}

/**
 * Where the model's numbers come from, once all of the checkpoint is found to be as it should.
 * @throws CheckpointError as `loadWeights`
 */
export function weightSource(
  checkpoint: Checkpoint,
  config: ModelConfig,
  family: RunnableFamily,
): WeightSource {
  return numbersFrom(findAll(checkpoint, config, family))
}

function numbersFrom(source: Source): WeightSource {
  return (spec, target) => eachPart(source(spec), target, readFound)
}

/** Calls `read` with each part and its place in `target`, where they stand one after the other. */
function eachPart<Target extends Float32Array | Uint8Array>(
  pieces: readonly Piece[],
  target: Target,
  read: (found: Found, part: Target, size: number) => void,
): void {
  const whole = sum(pieces.map(({ size }) => size))
  let end = 0
  for (const { found, size } of pieces) {
    const begin = end
    end += (size * target.length) / whole // in this order, whole
    read(found, target.subarray(begin, end) as Target, size)
  }
}

function readFound({ tensor, expert, ...held }: Found, target: Float32Array): void {
  const plain = isAsInModel(held)
  const published = plain ? target : new Float32Array(target.length)
  if (expert === null) tensor.read(published)
  else {
    const rows = rowsOf({ tensor, expert, ...held }, target.length)
    tensor.readSlice(expert * rows, rows, published)
  }
  if (!plain) fromPublished(held, published, target)
}

/** The file's tensors that hold a name's numbers, by the rules that find one. */
function presentOf(checkpoint: Checkpoint, names: PublishedName[]) {
  return names.flatMap((published) =>
    checkpoint.has(published.name) ? [{ ...published, tensor: checkpoint.get(published.name) }] : [],
  )
}

/** Finds all that the model needs, none missing, none left over, all of the right shape; where each of its tensors comes from. */
function findAll(checkpoint: Checkpoint, config: ModelConfig, family: RunnableFamily): Source {
  const { dir } = checkpoint
  const published = publishedNames(family.names)
  const found = new Map<string, Found>()
  const used = new Set(
    // The same as the embedding, by configOfWeights.
    config.tieWordEmbeddings ? presentOf(checkpoint, published(UNEMBEDDING)).map(({ name }) => name) : [],
  )
  const missing: string[] = []
  const misshapen: string[] = []
  /** Whether it is there; `shapes` of what the name joins. */
  const find = (ours: string, shapes: number[][], experts: number): boolean => {
    const [first, twin] = presentOf(checkpoint, published(ours))
    if (!first) return false
    if (twin) throw twins(dir, first.name, twin.name)
    const { tensor, layout, expert } = first
    const held = { shapes, layout, groups: layout.groups?.(config) ?? 1 }
    found.set(ours, { ...held, tensor, expert })
    used.add(tensor.name)
    const expected = publishedShape(held, expert === null ? null : experts)
    if (tensor.shape.join() !== expected.join()) misshapen.push(shapeSentence(tensor, expected))
    return true
  }
  for (const [, { name, stored }, experts] of tensorSpecs(weightTable(config))) {
    const joined =
      stored.length > 1 &&
      find(
        name,
        stored.map(({ shape }) => shape),
        experts,
      )
    for (const tensor of stored) {
      const apart = find(tensor.name, [tensor.shape], experts)
      if (apart && joined) throw twins(dir, found.get(name)!.tensor.name, found.get(tensor.name)!.tensor.name)
      if (!apart && !joined) missing.push(published(tensor.name)[0]?.name ?? tensor.name)
    }
    if (missing.length >= MANY_MISSING) break // a config that asks for a billion experts fails as fast
  }
  const leftOver = checkpoint.names().filter((name) => !used.has(name) && !family.ignored(name, config))
  if (missing.length > 0) {
    throw new CheckpointError(`${dir}: ${missingSentence(missing.slice(0, MANY_MISSING), leftOver)}`)
  }
  if (leftOver.length > 0) {
    throw new CheckpointError(`${dir}: ${listed(leftOver)} left over, config.json has no place for it`)
  }
  if (misshapen.length > 0) throw new CheckpointError(misshapen[0])
  return ({ name, size, stored }) => {
    const whole = found.get(name)
    if (whole) return [{ found: whole, size }]
    return stored.map((tensor) => ({
      found: found.get(tensor.name) as Found,
      size: product(tensor.shape),
    }))
  }
}

function twins(dir: string, one: string, other: string): CheckpointError {
  return new CheckpointError(`${dir}: ${quote(one)} and ${quote(other)} are the same weight, expected one`)
}

function missingSentence(missing: string[], leftOver: string[]): string {
  return strangePrefix(missing, leftOver) ?? `${listed(missing)} missing, config.json asks for it`
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

function shapeSentence({ file, name, shape }: CheckpointTensor, expected: number[]): string {
  return `${file}: ${quote(name)} has shape [${excerpt(shape.join(', '))}], expected [${expected.join(', ')}] by config.json`
}

function listed(names: string[]): string {
  const shown = names.slice(0, 3).map(quote).join(', ')
  const atLeast = names.length >= MANY_MISSING ? 'at least ' : ''
  return names.length > 3
    ? `${shown} and ${atLeast}${names.length - 3} more tensors are`
    : `${shown} ${names.length > 1 ? 'are' : 'is'}`
}
