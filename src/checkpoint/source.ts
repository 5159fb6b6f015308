import { CheckpointError } from '../errors.ts'

/** The bytes of one file, wherever it lies. Reads are synchronous: a backend is the active one only until the next `await`. */
export interface ByteSource {
  /** Path or URL, for messages. */
  readonly file: string
  readonly size: number
  /** Fills `target` from `position` on. CheckpointError where the file ends before. */
  read(target: Uint8Array, position: number): void
  close(): void
}

/** A model's directory, wherever it lies. */
export interface ModelFiles {
  /** Path or URL, for messages. */
  readonly dir: string
  /** Path or URL of one of its files. */
  at(name: string): string
  has(name: string): boolean
  /** A small file as a whole. CheckpointError where it cannot be read. */
  bytes(name: string): Uint8Array
  open(name: string): ByteSource
  /** The sentence about a directory without weights; `expected` says what is looked for. */
  withoutWeights(expected: string): string
}

/** Files that were fetched or dropped on a page, by name. */
export function filesInMemory(dir: string, files: ReadonlyMap<string, Uint8Array>): ModelFiles {
  const at = (name: string) => `${dir}/${name}`
  const bytes = (name: string) => {
    const found = files.get(name)
    if (!found) throw new CheckpointError(`${at(name)}: not found`)
    return found
  }
  return {
    dir,
    at,
    has: (name) => files.has(name),
    bytes,
    open: (name) => bytesInMemory(at(name), bytes(name)),
    withoutWeights: (expected) => `${dir}: no weights found; ${expected}`,
  }
}

function bytesInMemory(file: string, bytes: Uint8Array): ByteSource {
  return {
    file,
    size: bytes.length,
    read(target, position) {
      const found = bytes.subarray(position, position + target.length)
      if (found.length < target.length) throw new CheckpointError(`${file}: ends at byte ${bytes.length}`)
      target.set(found)
    },
    close() {},
  }
}
