import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CheckpointError, ConfigError, InputError } from '../src/errors.ts'
import { entryAt, makeFolder, readJson } from '../src/files.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tinymoe-files-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('makeFolder', () => {
  test('makes those above it too, and takes one that is there', () => {
    const deep = join(folder, 'a', 'b', 'c')
    makeFolder(deep)
    makeFolder(deep)
    expect(statSync(deep).isDirectory()).toBe(true)
  })

  test('refuses a file in the way, and an empty name', () => {
    writeFileSync(join(folder, 'file'), '')
    expect(() => makeFolder(join(folder, 'file'))).toThrow('EEXIST')
    expect(() => makeFolder(join(folder, 'file', 'below'))).toThrow('ENOTDIR')
    expect(() => makeFolder('')).toThrow('ENOENT')
  })

  // Node's own, with `recursive`, would not return.
  test.runIf(process.platform === 'linux')('comes back from /proc', () => {
    expect(() => makeFolder('/proc/no/such/folder')).toThrow('ENOENT')
  })
})

describe('readJson', () => {
  test('gives the value', () => {
    const file = join(folder, 'good.json')
    writeFileSync(file, '{"a": [1]}')
    expect(readJson(file, InputError)).toEqual({ a: [1] })
  })

  test('a file that cannot be read is not called JSON or not', () => {
    const directory = join(folder, 'directory.json')
    mkdirSync(directory)
    expect(() => readJson(directory, ConfigError)).toThrow(
      new ConfigError(`${directory}: cannot be read (EISDIR: illegal operation on a directory, read)`),
    )
    expect(() => readJson(join(folder, 'none.json'), InputError, '--a')).toThrow(
      /^--a cannot be read \(ENOENT/,
    )
  })

  test.each(['', '{"a": ', '\x1b[2J\n\n{', `{"a": ${'[1,\n'.repeat(9)}`])(
    '%j is not JSON, in one line without controls',
    (text) => {
      const file = join(folder, 'bad.json')
      writeFileSync(file, text)
      expect(() => readJson(file, CheckpointError)).toThrow(/bad\.json: not JSON \([^\p{Cc}]+\)$/u)
    },
  )
})

describe('entryAt', () => {
  test('nothing is there: also below a file, and at an empty path', () => {
    writeFileSync(join(folder, 'plain'), '')
    for (const path of [join(folder, 'nothing'), join(folder, 'plain', 'x'), '']) {
      expect(entryAt(path, InputError)).toBeUndefined()
    }
    expect(entryAt(folder, InputError)?.isDirectory()).toBe(true)
  })

  test('what cannot be looked at is an error', () => {
    const circle = join(folder, 'circle')
    symlinkSync(circle, circle)
    expect(() => entryAt(circle, CheckpointError)).toThrow(/circle: cannot be read \(ELOOP/)
  })
})
