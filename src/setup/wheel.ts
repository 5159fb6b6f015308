import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Transform } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { type Entry, openPromise, type ZipFile } from 'yauzl'
import { messageOf, SetupError } from '../errors.ts'
import { makeFolder } from '../files.ts'

/** What a wheel says of itself in METADATA and WHEEL, which a renamed file still does. */
export type WheelIdentity = ReturnType<typeof parseIdentity>

export interface ExtractedFile {
  path: string
  bytes: number
}

/** A Python wheel: a zip archive with a list of its members' sha256 (RECORD). */
export interface Wheel {
  path: string
  identity: WheelIdentity
  entries: Entry[]
  /** sha256 by member name, base64url. */
  hashes: Map<string, string>
  zip: ZipFile
}

/** Opens a wheel, gives it to `work`, and closes it. Every failure to read it is one sentence with the file's name. */
export async function withWheel<T>(path: string, work: (wheel: Wheel) => Promise<T>): Promise<T> {
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false }).catch((error) => {
    throw brokenWheel(path, error)
  })
  try {
    const entries: Entry[] = []
    for await (const entry of zip.eachEntry()) entries.push(entry)
    const member = async (suffix: string) => {
      const entry = entries.find(
        ({ fileName }) => /^[^/]+\.dist-info\//.test(fileName) && fileName.endsWith(suffix),
      )
      if (!entry) throw new Error(`it has no ${suffix}`)
      return await text(await zip.openReadStreamPromise(entry))
    }
    const identity = parseIdentity(await member('/METADATA'), await member('/WHEEL'))
    const hashes = parseRecord(await member('/RECORD'))
    return await work({ path, identity, entries, hashes, zip })
  } catch (error) {
    throw isFromTheSystem(error) || error instanceof SetupError ? error : brokenWheel(path, error)
  } finally {
    zip.close()
  }
}

/** Writes the wanted members below `folder`, each checked against RECORD, and lists them. */
export async function extract(
  wheel: Wheel,
  wanted: RegExp,
  folder: string,
  onBytes: (done: number, total: number) => void,
): Promise<ExtractedFile[]> {
  const entries = wheel.entries.filter(({ fileName }) => wanted.test(fileName) && !fileName.endsWith('/'))
  const total = entries.reduce((sum, { uncompressedSize }) => sum + uncompressedSize, 0)
  let done = 0
  for (const entry of entries) {
    await extractOne(wheel, entry, join(folder, entry.fileName), (bytes) => {
      done += bytes
      onBytes(done, total)
    })
  }
  return entries.map(({ fileName, uncompressedSize }) => ({ path: fileName, bytes: uncompressedSize }))
}

async function extractOne(wheel: Wheel, entry: Entry, target: string, onBytes: (bytes: number) => void) {
  const hash = createHash('sha256')
  const watch = new Transform({
    transform(chunk, _encoding, next) {
      hash.update(chunk)
      onBytes(chunk.length)
      next(null, chunk)
    },
  })
  makeFolder(dirname(target))
  await pipeline(await wheel.zip.openReadStreamPromise(entry), watch, createWriteStream(target))
  const [actual, expected] = [hash.digest('base64url'), wheel.hashes.get(entry.fileName)]
  if (actual !== expected) {
    throw new Error(`${entry.fileName} has sha256 ${actual}, its RECORD says ${expected ?? 'nothing of it'}`)
  }
  const executable = (entry.externalFileAttributes >>> 16) & 0o111
  if (executable) await chmod(target, 0o755)
}

/** The index treats `-`, `_` and `.` alike, and case as well (PEP 503). */
export function normalizeProject(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-')
}

function parseIdentity(metadata: string, wheelFile: string) {
  const fields = (source: string, name: string) =>
    [...source.matchAll(new RegExp(`^${name}: (.*?)\\r?$`, 'gm'))].map((match) => match[1])
  return {
    project: normalizeProject(fields(metadata, 'Name')[0] ?? 'unnamed'),
    version: fields(metadata, 'Version')[0] ?? 'unknown',
    /** Platform part of its tags, such as manylinux_2_27_x86_64. */
    platforms: fields(wheelFile, 'Tag').map((tag) => tag.split('-')[2]),
    /** `Requires-Dist` lines. */
    requirements: fields(metadata, 'Requires-Dist'),
  }
}

function parseRecord(record: string): Map<string, string> {
  const lines = record.matchAll(/^"?([^",\n]+)"?,sha256=([\w-]+)=*,/gm)
  return new Map([...lines].map(([, name, hash]) => [name, hash]))
}

/** Errors with a system code (no space, no permission) are about the disk, not about the wheel. */
function isFromTheSystem(error: unknown): boolean {
  return /^E[A-Z]+$/.test(String((error as NodeJS.ErrnoException)?.code ?? ''))
}

function brokenWheel(path: string, error: unknown): SetupError {
  if (isFromTheSystem(error))
    return new SetupError(`${path}: cannot be read (${messageOf(error)})`, { cause: error })
  return new SetupError(`${path}: is no complete wheel (${messageOf(error)}); download it again`, {
    cause: error,
  })
}
