import { randomUUID } from 'node:crypto'
import {
  accessSync,
  constants,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, sep } from 'node:path'
import { InputError, messageOf } from './errors.ts'
import { type Failure, parseJson } from './text/json.ts'

/** A path as a message shows it: an empty one would be read over. */
export function shownPath(path: string): string {
  return path === '' ? '""' : path
}

/**
 * Makes a folder and those above it, and gives those that were not there. Node's own recursive mkdir never returns where a
 * file system refuses with ENOENT, as /proc does.
 */
export function makeFolder(path: string): string[] {
  if (isFolder(path)) return []
  const above = dirname(path) === path ? [] : makeFolder(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    if (!isFolder(path)) throw error // another process may have made it meanwhile
    return above
  }
  return [...above, path]
}

/** Removes folders, given as `makeFolder` gives them, up to one in which there is something. */
export function removeEmpty(folders: readonly string[]): void {
  try {
    for (const folder of folders.toReversed()) rmdirSync(folder)
  } catch {} // something is in it, or it is gone
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

/**
 * What is at a path; undefined where nothing is, an empty path included.
 * @throws `Failure` where that cannot be told: a folder that may not be entered, links in a circle
 */
export function entryAt(path: string, Failure: Failure): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined // below a file
    throw new Failure(`${path}: cannot be read (${messageOf(error)})`, { cause: error })
  }
}

/**
 * A file's JSON. `source` is what the message begins with, such as a flag and the file.
 * @throws `Failure` for a file that cannot be read, and in other words for one that is not JSON
 */
export function readJson(file: string, Failure: Failure, source = `${file}:`): unknown {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new Failure(`${source} cannot be read (${messageOf(error)})`, { cause: error })
  }
  return parseJson(text, source, Failure)
}

/**
 * Runs `write`, which asks for the temporary name of each file that it writes, then gives all of them their own names in that
 * order. Where `write` fails, what was there before stays.
 */
export function atomically(write: (temporary: (file: string) => string) => void): void {
  Array.from(
    stepsAtomically((temporary) => {
      write(temporary)
      return []
    }),
  )
}

/** The same of work in steps; whoever leaves them before the end leaves nothing behind. */
export function* stepsAtomically<Step>(
  write: (temporary: (file: string) => string) => Iterable<Step>,
): Generator<Step, void> {
  const renames = new Map<string, string>()
  try {
    yield* write((file) => {
      const name = temporaryName(file)
      renames.set(name, file)
      return name
    })
    for (const [from, to] of renames) renameSync(from, to)
  } finally {
    for (const name of renames.keys()) rmSync(name, { force: true })
  }
}

function temporaryName(file: string): string {
  return join(dirname(file), `.${basename(file)}.${randomUUID()}.tmp`)
}

/** The file appears whole or not at all. A link, pipe or device is written into, and stays what it is. */
export function writeAtomically(file: string, content: string): void {
  const there = lstatSync(file, { throwIfNoEntry: false })
  if (there && !there.isFile()) writeFileSync(file, content)
  else {
    makeFolder(dirname(file))
    atomically((temporary) => writeFileSync(temporary(file), content))
  }
}

/** Throws what `writeAtomically` would, before there is anything to write. The file's folder is made; gives the folders that were. */
export function checkWritable(file: string): string[] {
  if (file.endsWith('/') || file.endsWith(sep) || isFolder(file)) throw new InputError('is a directory')
  const there = lstatSync(file, { throwIfNoEntry: false })
  if (!there || there.isFile()) {
    const made = makeFolder(dirname(file))
    const temporary = temporaryName(file)
    writeFileSync(temporary, '')
    rmSync(temporary)
    return made
  }
  if (statSync(file, { throwIfNoEntry: false })) accessSync(file, constants.W_OK)
  return []
}
