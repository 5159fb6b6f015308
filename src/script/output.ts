import pc from 'picocolors'
import { messageOf } from '../errors.ts'
import { escaped } from '../text/foreign.ts'
import { nineDigits } from '../text/number.ts'

const WRITE_SIZE = 1 << 16

/** Writes to stdout; resolves when the reader has taken it, so that output never piles up and none is lost at exit. */
export function write(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(text, (error) => {
      if (!error) resolve() // `onBrokenOutput` handles errors
    })
  })
}

/** Writes many small pieces as few large ones. */
export async function writeAll(pieces: Iterable<string> | AsyncIterable<string>): Promise<void> {
  let gathered = ''
  for await (const piece of pieces) {
    gathered += piece
    if (gathered.length < WRITE_SIZE) continue
    await write(gathered)
    gathered = ''
  }
  await write(gathered)
}

/** Ends the process when stdout cannot be written: quietly if the reader has enough (`| head`). */
export function onBrokenOutput(): void {
  process.stderr.on('error', () => {}) // nobody left to tell
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    process.stderr.write(`error: stdout cannot be written (${messageOf(error)})\n`)
    process.exit(1)
  })
}

/** A remark for the person, dim, on stderr so that stdout stays the result alone. */
export function remark(text: string): void {
  const { dim } = pc.createColors(process.stderr.isTTY === true && pc.isColorSupported)
  process.stderr.write(`${dim(escaped(text))}\n`)
}

/** JSON of float32 values in rows, which reads back as the same; a value that is none is null. */
export function jsonRow(values: Float32Array): string {
  return JSON.stringify(Array.from(values, nineDigits))
}
