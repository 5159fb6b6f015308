import type { HalfDtype } from '../backend/dtypes.ts'
import type { Holding } from '../backend/holding.ts'
import { CheckpointError } from '../errors.ts'
import { decodeBf16, decodeF16, f16Table, floatBytes, isFloatDtype } from './dtype.ts'
import { parseHeader, type TensorEntry } from './header.ts'
import { quote, showList } from './json.ts'
import type { ByteSource } from './source.ts'

/** A longer header is refused: the format's own limit (safetensors, `MAX_HEADER_SIZE`). */
export const MAX_HEADER_BYTES = 100_000_000

const LENGTH_BYTES = 8
/** The half types by their names in files. */
const HALVES: Readonly<Record<string, HalfDtype>> = { BF16: 'bfloat16', F16: 'float16' }
const CHUNK_ELEMENTS = 1 << 18 // 16-bit numbers decoded at a time: small beside a tensor, and stays in the CPU cache

/** A tensor in a file. Nothing is read before `read` or `readSlice`, and nothing is kept after. */
export interface CheckpointTensor {
  readonly name: string
  readonly file: string
  /** As in the header: `F32`, `F16`, `BF16`, or one that is recognised but cannot be read as float (`I64`, `U8`, ...). */
  readonly dtype: string
  readonly shape: number[]
  /** Size in the file. */
  readonly bytes: number
  /** All elements as float32, row-major, in `target` where given. CheckpointError for a dtype other than F32, F16, BF16. */
  read(target?: Float32Array): Float32Array
  /** Elements `[start, start + count)` of the leading dimension: `[count, ...shape.slice(1)]`, as `read` gives them. */
  readSlice(start: number, count: number, target?: Float32Array): Float32Array
  /** How it may be held without being widened; null where only as float32. */
  readonly holding: Holding | null
  /** Whether what it is held as has rows where `shape` has columns. */
  readonly isHeldTurned?: boolean
  /** The same slice as it may be held: the bytes of the file, but of what is packed. */
  readBytes(start: number, count: number, target?: Uint8Array): Uint8Array
  /** Bytes `[offset, offset + count)` as they are in the file. */
  raw(offset: number, count: number): Uint8Array
}

/** An open safetensors file: the header in memory, the data where it was. */
export interface SafetensorsFile {
  readonly file: string
  readonly metadata: Record<string, string>
  /** In the order of their data. */
  readonly tensors: CheckpointTensor[]
  close(): void
}

/**
 * Parses a safetensors file's header only; tensors are read when asked for, and `close` closes the source. CheckpointError where the file breaks the format in any way:
 * a header that is too long or not JSON, an unknown dtype, sizes that contradict each other, data that is missing or left over.
 */
export function readSafetensors(reader: ByteSource): SafetensorsFile {
  const { file } = reader
  try {
    const headerBytes = readHeaderLength(reader)
    const dataStart = LENGTH_BYTES + headerBytes
    const bytes = new Uint8Array(headerBytes)
    reader.read(bytes, LENGTH_BYTES)
    const header = parseHeader(file, bytes, reader.size - dataStart)
    const f16 = lazy(f16Table)
    return {
      file,
      metadata: header.metadata,
      tensors: header.tensors.map((entry) => new StoredTensor(reader, entry, dataStart, f16)),
      close: () => reader.close(),
    }
  } catch (error) {
    reader.close()
    throw error
  }
}

function readHeaderLength(reader: ByteSource): number {
  const { file, size } = reader
  if (size < LENGTH_BYTES) {
    throw new CheckpointError(`${file}: ${size} bytes is too short for a safetensors file`)
  }
  const bytes = new Uint8Array(LENGTH_BYTES)
  reader.read(bytes, 0)
  if (new TextDecoder().decode(bytes) === 'version ') {
    throw new CheckpointError(
      `${file}: is a Git LFS pointer, not the weights (fetch them with "git lfs pull")`,
    )
  }
  const length = new DataView(bytes.buffer).getBigUint64(0, true)
  if (length > MAX_HEADER_BYTES) {
    throw new CheckpointError(
      `${file}: header length ${length} is over the limit of ${MAX_HEADER_BYTES} bytes: not a safetensors file?`,
    )
  }
  if (Number(length) > size - LENGTH_BYTES) {
    throw new CheckpointError(
      `${file}: header length ${length} does not fit the file of ${size} bytes (truncated?)`,
    )
  }
  return Number(length)
}

class StoredTensor implements CheckpointTensor {
  readonly name: string
  readonly file: string
  readonly dtype: string
  readonly shape: number[]
  readonly bytes: number
  private readonly position: number

  constructor(
    private readonly reader: ByteSource,
    entry: TensorEntry,
    dataStart: number,
    private readonly f16: () => Uint32Array,
  ) {
    this.name = entry.name
    this.file = reader.file
    this.dtype = entry.dtype
    this.shape = entry.shape
    this.bytes = entry.end - entry.begin
    this.position = dataStart + entry.begin
  }

  read(target?: Float32Array): Float32Array {
    return this.readElements(0, this.bytes, target)
  }

  readSlice(start: number, count: number, target?: Float32Array): Float32Array {
    const rows = this.shape[0]
    const isRange = Number.isInteger(start) && Number.isInteger(count) && start >= 0 && count >= 0
    if (rows === undefined || !isRange || start + count > rows) {
      throw new Error(`${this.where}: no slice [${start}, ${start + count}) of shape ${showList(this.shape)}`)
    }
    const rowBytes = rows === 0 ? 0 : this.bytes / rows
    return this.readElements(start * rowBytes, count * rowBytes, target)
  }

  get holding(): Holding | null {
    const half = HALVES[this.dtype]
    return half ? { dtype: half } : null
  }

  readBytes(start: number, count: number, target?: Uint8Array): Uint8Array {
    const row = this.bytes / Math.max(1, this.shape[0] ?? 1)
    const bytes = target ?? new Uint8Array(count * row)
    if (bytes.length !== count * row)
      throw new Error(`${this.where}: ${bytes.length} bytes, expected ${count * row}`)
    this.reader.read(bytes, this.position + start * row)
    return bytes
  }

  raw(offset: number, count: number): Uint8Array {
    const bytes = new Uint8Array(count)
    this.reader.read(bytes, this.position + offset)
    return bytes
  }

  private get where(): string {
    return `${this.file}: ${quote(this.name)}`
  }

  /** `offset` and `bytes` are in the file, from the start of this tensor. */
  private readElements(offset: number, bytes: number, target?: Float32Array): Float32Array {
    const { dtype, reader } = this
    if (!isFloatDtype(dtype)) {
      throw new CheckpointError(
        `${this.where} has dtype ${dtype}: unsupported as float weights (F32, F16 and BF16 are read)`,
      )
    }
    const count = bytes / floatBytes(dtype)
    const values = target ?? new Float32Array(count)
    const { buffer, byteOffset } = values
    const position = this.position + offset
    if (dtype === 'F32') {
      reader.read(new Uint8Array(buffer, byteOffset, bytes), position)
      return values
    }
    const decode = dtype === 'BF16' ? decodeBf16 : decodeF16
    // Bits, not numbers: a NaN passed as a number may lose its payload.
    const bits = new Uint32Array(buffer, byteOffset, count)
    const chunk = new Uint16Array(Math.min(count, CHUNK_ELEMENTS))
    for (let done = 0; done < count; done += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, count - done))
      reader.read(new Uint8Array(part.buffer, 0, part.byteLength), position + 2 * done)
      decode(part, bits, done, this.f16())
    }
    return values
  }
}

function lazy<T>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    made ??= make()
    return made
  }
}
