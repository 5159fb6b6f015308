import { execFile } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeAtomically } from '../../src/files.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-save-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

test('a file is written whole, over an old one and into folders that are made', () => {
  const file = join(dir, 'new', 'a.txt')
  writeAtomically(file, 'old')
  writeAtomically(file, 'new')
  expect(readFileSync(file, 'utf8')).toBe('new')
  expect(readdirSync(join(dir, 'new'))).toEqual(['a.txt'])
})

test('a directory is in the way, and nothing is left beside it', () => {
  mkdirSync(join(dir, 'a'))
  expect(() => writeAtomically(join(dir, 'a'), 'text')).toThrow('EISDIR')
  expect(readdirSync(dir)).toEqual(['a'])
})

test.skipIf(process.platform === 'win32')(
  'a link stays a link, and a pipe a pipe that gets the text',
  async () => {
    writeFileSync(join(dir, 'target'), 'old')
    symlinkSync('target', join(dir, 'link'))
    writeAtomically(join(dir, 'link'), 'new')
    expect(lstatSync(join(dir, 'link')).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(dir, 'target'), 'utf8')).toBe('new')

    const pipe = join(dir, 'pipe')
    await promisify(execFile)('mkfifo', [pipe])
    const reader = promisify(execFile)('cat', [pipe])
    writeAtomically(pipe, 'through')
    expect((await reader).stdout).toBe('through')
    expect(lstatSync(pipe).isFIFO()).toBe(true)
  },
)
