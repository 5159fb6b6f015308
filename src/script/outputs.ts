import { existsSync, lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { InputError, messageOf, UsageError } from '../errors.ts'
import { checkWritable, makeFolder, writeAtomically } from '../files.ts'
import { remark } from './output.ts'

/** Where a flag or argument wants results; no path: nowhere. */
export interface Output {
  /** As a message names it, such as `--out`. */
  flag: string
  path: string | undefined
  kind?: 'file' | 'folder'
}

/**
 * Asked before the work, so that no result is lost for want of a place: each output can be written (folders are made), and
 * no two are the same file.
 * @returns the folders that it made, a folder before those in it
 * @throws UsageError or InputError naming flag and path
 */
export function checkOutputs(...outputs: Output[]): string[] {
  const taken = new Map<string, string>()
  const made: string[] = []
  for (const { flag, path, kind = 'file' } of outputs) {
    if (path === undefined) continue
    const named = `${flag} ${path}`
    if (path === '') throw new UsageError(`${flag}: is empty, expected the name of a ${kind}`)
    made.push(...reporting(named, () => (kind === 'folder' ? checkFolder(path) : checkWritable(path))))
    const place = placeOf(path)
    if (place === null) continue
    const other = taken.get(place)
    if (other !== undefined) throw new UsageError(`${other} and ${named} are the same file, expected two`)
    taken.set(place, named)
  }
  return made
}

/** Writes what `checkOutputs` has found a place for. Returns the InputError where that fails after all, for the end. */
export function writeOutput(flag: string, file: string, content: string): InputError | null {
  try {
    reporting(`${flag} ${file}`, () => writeAtomically(file, content))
  } catch (error) {
    if (error instanceof InputError) return error
    throw error
  }
  remark(`[written: ${file}]`)
  return null
}

function checkFolder(folder: string): string[] {
  const made = makeFolder(folder)
  checkWritable(join(folder, '.writable'))
  return made
}

function reporting<T>(what: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new InputError(`${what}: cannot be written (${messageOf(error)})`, { cause: error })
  }
}

/** The same for every spelling of a file's name; null for a pipe or device, which takes any number of outputs. */
function placeOf(path: string): string | null {
  if (!existsSync(path)) {
    const link = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()
    if (link) return placeOf(resolve(dirname(path), readlinkSync(path))) // to a file that is not there yet
    return join(realpathSync(dirname(resolve(path))), basename(path))
  }
  const there = statSync(path)
  return there.isFile() || there.isDirectory() ? `${there.dev}:${there.ino}` : null
}
