import { isJsonObject } from '../checks.ts'
import { CheckpointError } from '../errors.ts'
import { DTYPE_BITS } from './dtype.ts'
import { parseStrictJson, quote, showList } from './json.ts'

/** One tensor of a safetensors header. `begin` and `end` are bytes from the start of the data section. */
export interface TensorEntry {
  name: string
  dtype: string
  shape: number[]
  begin: number
  end: number
}

export interface Header {
  /** In the order of their data, which they cover without gap or overlap. */
  tensors: TensorEntry[]
  metadata: Record<string, string>
}

const LARGEST_SIZE = 2n ** 63n

/**
 * Parses a safetensors header and checks it against `dataBytes`, the size of the data section.
 * Format: https://github.com/huggingface/safetensors#format. Throws CheckpointError at the first breach of it.
 */
export function parseHeader(file: string, bytes: Uint8Array, dataBytes: number): Header {
  if (bytes[0] !== 0x7b) throw new CheckpointError(`${file}: the header does not begin with "{"`)
  const json = parseStrictJson(`${file}: the header`, bytes)
  if (!isJsonObject(json)) throw new CheckpointError(`${file}: the header is not a JSON object`)
  const entries = Object.entries(json).filter(([name]) => name !== '__metadata__')
  const tensors = entries.map(([name, entry]) => parseEntry(file, name, entry))
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end)
  checkCover(file, tensors, dataBytes)
  return { tensors, metadata: parseMetadata(file, json.__metadata__) }
}

function parseMetadata(file: string, metadata: unknown): Record<string, string> {
  if (metadata === undefined) return {}
  if (isJsonObject(metadata)) {
    const wrong = Object.entries(metadata).find(([, value]) => typeof value !== 'string')
    if (!wrong) return metadata as Record<string, string>
    throw new CheckpointError(`${file}: __metadata__ ${quote(wrong[0])} is not a string`)
  }
  throw new CheckpointError(`${file}: __metadata__ is not a JSON object`)
}

function parseEntry(file: string, name: string, entry: unknown): TensorEntry {
  // A function, since a header may hold a hundred thousand tensors with nothing wrong.
  const wrong = (what: string) => new CheckpointError(`${file}: ${quote(name)}${what}`)
  if (!isJsonObject(entry)) throw wrong(' is not a JSON object')
  const { dtype, shape, data_offsets: offsets } = entry
  const bits = typeof dtype === 'string' ? DTYPE_BITS.get(dtype) : undefined
  if (typeof dtype !== 'string' || bits === undefined) {
    throw wrong(` has dtype ${showList([dtype])}, expected one of ${[...DTYPE_BITS.keys()].join(', ')}`)
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw wrong(` has shape ${showList([shape].flat())}, expected a list of whole numbers from 0 to 2^53`)
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[0] > offsets[1]) {
    const shown = showList([offsets].flat())
    throw wrong(` has data_offsets ${shown}, expected [begin,end], whole numbers, begin <= end`)
  }
  const [begin, end] = offsets
  const size = storedBytes(shape, bits)
  if (size !== BigInt(end - begin)) {
    const needed = size === undefined ? 'no whole or no possible number of bytes' : `${size} bytes`
    const span = `data_offsets ${showList(offsets)} span ${end - begin}`
    throw wrong(`: shape ${showList(shape)} of ${dtype} takes ${needed}, but ${span}`)
  }
  return { name, dtype, shape, begin, end }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0)
}

/** Bytes of a tensor; undefined where a sub-byte dtype does not fill its last byte, or the size passes 2^63. */
function storedBytes(shape: number[], bits: number): bigint | undefined {
  if (shape.includes(0)) return 0n
  let total = BigInt(bits)
  for (const dimension of shape) {
    total *= BigInt(dimension)
    if (total > LARGEST_SIZE) return undefined // stop here: a long enough list would make the product itself huge
  }
  return total % 8n === 0n ? total / 8n : undefined
}

/** `tensors`, in the order of their offsets, must cover the data section exactly. */
function checkCover(file: string, tensors: TensorEntry[], dataBytes: number): void {
  let end = 0
  let previous: TensorEntry | undefined
  for (const tensor of tensors) {
    const wrong = (what: string) =>
      new CheckpointError(
        `${file}: ${quote(tensor.name)} at data_offsets [${tensor.begin},${tensor.end}] ${what}`,
      )
    if (tensor.begin < end) {
      throw wrong(`overlaps ${quote(previous!.name)} at [${previous!.begin},${previous!.end}]`)
    }
    if (tensor.begin > end) throw wrong(`leaves a gap: the data before it ends at ${end}`)
    if (tensor.end > dataBytes) {
      throw wrong(`is out of range: the file holds ${dataBytes} bytes of data (truncated?)`)
    }
    end = tensor.end
    previous = tensor
  }
  if (end < dataBytes) {
    throw new CheckpointError(
      `${file}: ${dataBytes - end} trailing bytes: the last tensor ends at ${end}, the data at ${dataBytes}`,
    )
  }
}
