import { fstatSync, type Stats, statSync } from 'node:fs'
import { devNull } from 'node:os'
import { InputError, messageOf } from '../errors.ts'

/** A text that a model reads is a thousand times shorter. */
const MAX_BYTES = 64 * 2 ** 20

/**
 * The text on stdin, without its last line break. `flag` is the one that asked for it, for messages.
 * @throws InputError when stdin cannot be read, has too much, or is not UTF-8
 */
export async function textFromStdin(flag: string): Promise<string> {
  const problem = problemOf(statsOfStdin())
  if (problem) throw new InputError(`${flag} -: stdin ${problem}, expected a text`)
  const bytes = await allBytes(flag)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r?\n$/, '')
  } catch {
    throw new InputError(`${flag} -: the ${bytes.length} bytes on stdin are not UTF-8`)
  }
}

function statsOfStdin(): Stats | null {
  try {
    return fstatSync(0)
  } catch {
    return null // Windows cannot tell of every kind of console
  }
}

/** Node puts the null device in the place of a stdin that is closed, and reads a directory as an empty text. */
function problemOf(stats: Stats | null): string | null {
  if (stats?.isDirectory()) return 'is a directory'
  const isNull = stats?.isCharacterDevice() && stats.rdev === statSync(devNull).rdev
  return isNull ? `is closed or ${devNull}` : null
}

async function allBytes(flag: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of process.stdin) {
      chunks.push(chunk)
      size += chunk.length
      if (size > MAX_BYTES) break
    }
  } catch (error) {
    throw new InputError(`${flag} -: stdin cannot be read (${messageOf(error)})`, { cause: error })
  }
  if (size > MAX_BYTES)
    throw new InputError(`${flag} -: stdin has more than ${MAX_BYTES / 2 ** 20} MiB, expected a text`)
  return Buffer.concat(chunks)
}
