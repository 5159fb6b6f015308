import { closeSync, fsyncSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { CheckpointError, messageOf } from '../errors.ts'
import { stepsAtomically } from '../files.ts'
import { sum } from '../sums.ts'
import { DTYPE_BITS, encodeBf16, encodeF16, type FloatDtype, floatBytes } from './dtype.ts'
import { INDEX_FILE, SINGLE_FILE } from './shards.ts'

/** A tensor to be written. */
export interface TensorToWrite {
  name: string
  shape: readonly number[]
  /** What is stored: BF16 and F16 round to nearest, ties to even. */
  dtype: FloatDtype | 'I32' | 'I64'
  /**
   * Row-major; bytes are written as they are, in parts if they are made so. As a function it is called once, when its turn comes, so that
   * one tensor at a time need be in memory.
   */
  data: Float32Array | (() => Float32Array | Iterable<Uint8Array>)
}

const ALIGNMENT = 8
const CHUNK_ELEMENTS = 1 << 18
/** As in the format's own writer: wider dtypes first, so that every tensor is aligned to its element size. */
const DTYPE_ORDER: readonly TensorToWrite['dtype'][] = ['I64', 'I32', 'F32', 'BF16', 'F16']
const CHECKPOINT_FILE = /^model(-\d{5}-of-\d{5})?\.safetensors$/

/**
 * Writes a safetensors file, ordered and padded as the `safetensors` package does it. The file appears whole or not at
 * all: it is written beside `file` and renamed. CheckpointError where the disk refuses, plain Error for a name given
 * twice or data that does not fit its shape.
 */
export function writeSafetensors(
  file: string,
  tensors: Iterable<TensorToWrite>,
  metadata?: Record<string, string>,
): void {
  for (const _ of replacing((temporary) => writeTo(temporary(file), [...tensors], metadata)));
}

/** The same file in memory, with a stop after each tensor, or part of one, which says the share of the bytes that is there. */
export function* safetensorsInMemory(tensors: readonly TensorToWrite[]): Generator<number, Uint8Array> {
  const ordered = inOrder(tensors)
  const header = headerOf(ordered)
  const file = new Uint8Array(header.length + sum(ordered.map(storedBytes)))
  let end = 0
  const put = (bytes: Uint8Array) => {
    file.set(bytes, end)
    end += bytes.length
  }
  put(header)
  for (const tensor of ordered) for (const _ of writeData(put, tensor)) yield end / file.length
  return file
}

/**
 * Writes a checkpoint as `save_pretrained` does: shards of at most `maxShardBytes` of data (a larger tensor has a shard
 * to itself) and `model.safetensors.index.json`, or one `model.safetensors` where that suffices. Replaces the checkpoint
 * that was in `dir`, files of it that are no longer used included, once all of the new one is written.
 * Returns the names of the files. Errors as `writeSafetensors`.
 */
export function writeShards(dir: string, tensors: Iterable<TensorToWrite>, maxShardBytes: number): string[] {
  const steps = shardSteps(dir, tensors, maxShardBytes)
  for (let step = steps.next(); ; step = steps.next()) if (step.done) return step.value
}

/** The same with a stop after each tensor, or part of one, which says the share of the bytes that is written. */
export function* shardSteps(
  dir: string,
  tensors: Iterable<TensorToWrite>,
  maxShardBytes: number,
): Generator<number, string[]> {
  const all = [...tensors]
  checkNames(all) // across shards too
  const shards = splitIntoShards(all, maxShardBytes)
  const shardName = (i: number) =>
    shards.length === 1
      ? SINGLE_FILE
      : `model-${fiveDigits(i + 1)}-of-${fiveDigits(shards.length)}.safetensors`
  const written = shards.map((_, i) => shardName(i))
  const total = sum(all.map(storedBytes))
  let done = 0
  yield* replacing(function* (temporary) {
    for (const [i, shard] of shards.entries()) {
      // transformers refuses files without a format
      for (const bytes of writeTo(temporary(join(dir, written[i])), shard, { format: 'pt' })) {
        done += bytes
        yield done / total
      }
    }
    if (shards.length > 1) {
      const index = indexOf(shards, written)
      written.push(INDEX_FILE)
      writeFileSync(temporary(join(dir, INDEX_FILE)), `${JSON.stringify(index, null, 2)}\n`)
    }
  })
  for (const name of readdirSync(dir)) {
    const isCheckpoint = CHECKPOINT_FILE.test(name) || name === INDEX_FILE
    if (isCheckpoint && !written.includes(name)) rmSync(join(dir, name))
  }
  return written
}

/** In the order given, as transformers packs them. Never empty: a checkpoint of no tensors is one empty file. */
function splitIntoShards(tensors: TensorToWrite[], maxShardBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [[]]
  let bytes = 0
  for (const tensor of tensors) {
    const size = storedBytes(tensor)
    if (bytes + size > maxShardBytes && shards.at(-1)!.length > 0) {
      shards.push([])
      bytes = 0
    }
    shards.at(-1)!.push(tensor)
    bytes += size
  }
  return shards
}

function indexOf(shards: TensorToWrite[][], names: string[]) {
  const entries = shards.flatMap((shard, i) => shard.map(({ name }) => [name, names[i]] as const))
  const total = shards.flat().reduce((sum, tensor) => sum + storedBytes(tensor), 0)
  return { metadata: { total_size: total }, weight_map: Object.fromEntries(entries.sort(byName)) }
}

function byName(a: readonly [string, string], b: readonly [string, string]): number {
  return a[0] < b[0] ? -1 : 1
}

function fiveDigits(n: number): string {
  return String(n).padStart(5, '0')
}

/** `stepsAtomically`, with a CheckpointError where the disk refuses. */
function* replacing(
  write: (temporary: (file: string) => string) => Iterable<number>,
): Generator<number, void> {
  let last = ''
  try {
    yield* stepsAtomically((temporary) =>
      write((file) => {
        last = file
        return temporary(file)
      }),
    )
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error
    throw new CheckpointError(`${last}: cannot be written: ${messageOf(error)}`, { cause: error })
  }
}

/** Tells the bytes of each tensor, or part of one, when they are written. */
function* writeTo(
  file: string,
  tensors: TensorToWrite[],
  metadata?: Record<string, string>,
): Generator<number, void> {
  const ordered = inOrder(tensors)
  const fd = openSync(file, 'wx')
  const put = (bytes: Uint8Array) => writeAll(fd, bytes)
  try {
    put(headerOf(ordered, metadata))
    for (const tensor of ordered) yield* writeData(put, tensor)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function inOrder(tensors: readonly TensorToWrite[]): TensorToWrite[] {
  checkNames(tensors)
  return tensors.toSorted(
    (a, b) => DTYPE_ORDER.indexOf(a.dtype) - DTYPE_ORDER.indexOf(b.dtype) || (a.name < b.name ? -1 : 1),
  )
}

function checkNames(tensors: readonly TensorToWrite[]): void {
  const seen = new Set(['__metadata__'])
  for (const { name } of tensors) {
    if (seen.has(name)) throw new Error(`tensor name "${name}" is used twice or reserved`)
    seen.add(name)
  }
}

/** Header length and header, padded with spaces so that the data begins at a multiple of 8. */
function headerOf(ordered: TensorToWrite[], metadata?: Record<string, string>): Uint8Array {
  let end = 0
  const entries: [string, unknown][] = metadata ? [['__metadata__', metadata]] : []
  for (const tensor of ordered) {
    const begin = end
    end += storedBytes(tensor)
    entries.push([tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }])
  }
  // Entry by entry: an object would move names that look like integers to the front.
  const fields = entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
  const json = new TextEncoder().encode(`{${fields.join(',')}}`)
  const length = Math.ceil(json.length / ALIGNMENT) * ALIGNMENT
  const header = new Uint8Array(8 + length).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true)
  header.set(json, 8)
  return header
}

function storedBytes({ shape, dtype }: TensorToWrite): number {
  return (
    (shape.reduce((product, dimension) => product * dimension, 1) * (DTYPE_BITS.get(dtype) as number)) / 8
  )
}

/** Takes bytes to where they are kept; what they lie in may be used again. */
type Put = (bytes: Uint8Array) => void

function* writeData(put: Put, tensor: TensorToWrite): Generator<number, void> {
  const data = typeof tensor.data === 'function' ? tensor.data() : tensor.data
  if (data instanceof Float32Array) {
    writeFloats(put, tensor, data)
    yield storedBytes(tensor)
    return
  }
  let bytes = 0
  for (const part of data) {
    put(part)
    bytes += part.length
    yield part.length
  }
  if (bytes !== storedBytes(tensor))
    throw new Error(`"${tensor.name}" has ${bytes} bytes, expected ${storedBytes(tensor)}`)
}

function writeFloats(put: Put, tensor: TensorToWrite, data: Float32Array): void {
  const { name, shape, dtype } = tensor
  const expected = storedBytes(tensor) / floatBytes(dtype as FloatDtype)
  if (data.length !== expected) {
    throw new Error(`"${name}" has ${data.length} elements, expected ${expected} for shape [${shape}]`)
  }
  if (dtype === 'F32') {
    put(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    return
  }
  const encode = dtype === 'BF16' ? encodeBf16 : encodeF16
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length)
  const chunk = new Uint16Array(Math.min(data.length, CHUNK_ELEMENTS))
  for (let done = 0; done < data.length; done += chunk.length) {
    const part = bits.subarray(done, done + chunk.length)
    encode(part, chunk)
    put(new Uint8Array(chunk.buffer, 0, 2 * part.length))
  }
}

/** `writeSync` may write less than it is asked to. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, Math.min(bytes.length - done, 1 << 30))
  }
}
