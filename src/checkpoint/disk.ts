import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { CheckpointError, messageOf } from '../errors.ts'
import { entryAt, shownPath } from '../files.ts'
import { listNames } from './json.ts'
import { readSafetensors, type SafetensorsFile } from './safetensors.ts'
import { type Checkpoint, INDEX_FILE, type Meaningless, readCheckpoint, SINGLE_FILE } from './shards.ts'
import type { ByteSource, ModelFiles } from './source.ts'

const MAX_READ_BYTES = 1 << 30 // Node reads less than 2^31 bytes in one call
const WEIGHT_FILE = /\.(safetensors|bin|pt|pth|ckpt|gguf|ggml|h5|msgpack|onnx|npz)$|\.index\.json$/

/** As `readCheckpoint`, of a directory on disk. */
export function openCheckpoint(dir: string, meaningless?: Meaningless): Checkpoint {
  return readCheckpoint(filesIn(dir), meaningless)
}

/** As `readSafetensors`, of a file on disk. */
export function openSafetensors(file: string): SafetensorsFile {
  return readSafetensors(FileReader.open(file))
}

/** A model's directory on disk. */
export function filesIn(dir: string): ModelFiles {
  const at = (name: string) => join(dir, name)
  return {
    dir,
    at,
    has: (name) => dir !== '' && entryAt(at(name), CheckpointError) !== undefined,
    bytes(name) {
      try {
        return readFileSync(at(name))
      } catch (error) {
        throw new CheckpointError(`${at(name)}: cannot be read: ${messageOf(error)}`, { cause: error })
      }
    },
    open: (name) => FileReader.open(at(name)),
    withoutWeights(expected) {
      const stat = statSync(dir, { throwIfNoEntry: false })
      if (!stat) return `${shownPath(dir)}: no such directory; ${expected} in it`
      if (!stat.isDirectory()) return `${dir}: is not a directory; ${expected} in one`
      const broken = [SINGLE_FILE, INDEX_FILE].map(at).find(isBrokenLink)
      if (broken) return `${broken}: is a link to a file that is not there`
      const found = readdirSync(dir).filter((name) => WEIGHT_FILE.test(name))
      if (found.length === 0) return `${dir}: no weights found; ${expected}`
      const others = found.filter((name) => !name.endsWith('.safetensors'))
      const unsupported = others.length > 0 ? ' (only safetensors is supported)' : ''
      return `${dir}: found ${listNames(found.sort())}${unsupported}; ${expected}`
    },
  }
}

/** A cache of downloads holds links; one whose target is gone would read as a file that is there and not there. */
function isBrokenLink(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true && !existsSync(file)
}

/** Positioned reads from one file. The data is little-endian, as is every processor that Node and TensorFlow share. */
class FileReader implements ByteSource {
  private constructor(
    readonly file: string,
    readonly size: number,
    private fd: number | undefined,
  ) {}

  static open(file: string): FileReader {
    try {
      // Asked first: opening a pipe would wait for a writer.
      if (!statSync(file).isFile()) throw new Error('not a regular file')
      const fd = openSync(file, 'r')
      return new FileReader(file, fstatSync(fd).size, fd)
    } catch (error) {
      throw new CheckpointError(`${file}: cannot be opened: ${messageOf(error)}`, { cause: error })
    }
  }

  /** Fills `target` from `position` on. CheckpointError where the file ends before. */
  read(target: Uint8Array, position: number): void {
    if (this.fd === undefined) throw new Error(`${this.file}: read after close`)
    for (let done = 0; done < target.length; ) {
      const length = Math.min(target.length - done, MAX_READ_BYTES)
      const got = this.readSome(this.fd, target, done, length, position + done)
      if (got === 0) {
        throw new CheckpointError(
          `${this.file}: ends at byte ${position + done}, expected ${this.size} bytes: changed since it was opened`,
        )
      }
      done += got
    }
  }

  private readSome(fd: number, target: Uint8Array, offset: number, length: number, position: number): number {
    try {
      return readSync(fd, target, offset, length, position)
    } catch (error) {
      throw new CheckpointError(`${this.file}: cannot be read: ${messageOf(error)}`, { cause: error })
    }
  }

  close(): void {
    if (this.fd !== undefined) closeSync(this.fd)
    this.fd = undefined
  }
}
