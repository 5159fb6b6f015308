import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { InputError, UsageError } from '../../src/errors.ts'
import { checkOutputs } from '../../src/script/outputs.ts'
import { MIXTRAL, PATIENT, tinymoe } from '../cli/run-cli.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tinymoe-outputs-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const file = (flag: string, path: string | undefined) => ({ flag, path })

describe('checkOutputs', () => {
  test('makes folders, and leaves nothing else behind', () => {
    const place = join(folder, 'new', 'deep')
    checkOutputs(file('--out', join(place, 'a.json')), file('--html', undefined))
    checkOutputs({ flag: '--out', path: join(place, 'results'), kind: 'folder' })
    expect(readdirSync(place)).toEqual(['results'])
    expect(readdirSync(join(place, 'results'))).toEqual([])
  })

  test('keeps what is there', () => {
    const there = join(folder, 'there.json')
    writeFileSync(there, 'old')
    checkOutputs(file('--out', there))
    expect(readFileSync(there, 'utf8')).toBe('old')
  })

  test('an empty name is nothing, least of all the current folder', () => {
    expect(() => checkOutputs(file('--html', ''))).toThrow(
      new UsageError('--html: is empty, expected the name of a file'),
    )
    expect(() => checkOutputs({ flag: '--out', path: '', kind: 'folder' })).toThrow(
      new UsageError('--out: is empty, expected the name of a folder'),
    )
  })

  test('a directory is no file, and below a file is no folder', () => {
    const directory = join(folder, 'directory')
    mkdirSync(directory)
    for (const path of [directory, `${join(folder, 'new-directory')}/`]) {
      expect(() => checkOutputs(file('--out', path))).toThrow(
        new InputError(`--out ${path}: cannot be written (is a directory)`),
      )
    }
    const plain = join(folder, 'plain')
    writeFileSync(plain, '')
    expect(() => checkOutputs({ flag: '--out', path: plain, kind: 'folder' })).toThrow(/cannot be written/)
    expect(() => checkOutputs(file('--out', join(plain, 'x.json')))).toThrow(/cannot be written \(ENOTDIR/)
  })

  test.runIf(process.platform === 'linux')('/proc is refused, not waited for', () => {
    for (const path of ['/proc/x.json', '/proc/no/such/x.json']) {
      expect(() => checkOutputs(file('--out', path))).toThrow(/^--out \/proc.*: cannot be written \(ENOENT/)
    }
  })

  test('one file for two outputs is refused, however it is spelt', () => {
    const at = (name: string) => join(folder, name)
    symlinkSync(folder, at('alias'))
    writeFileSync(at('real.html'), '')
    linkSync(at('real.html'), at('hard.html'))
    symlinkSync(at('real.html'), at('soft.html'))
    symlinkSync('later.html', at('dangling.html'))
    const pairs = [
      [at('x.html'), at('x.html')],
      [at('x.html'), `${folder}/./y/../x.html`],
      [at('x.html'), relative('.', at('x.html'))],
      [at('x.html'), join(at('alias'), 'x.html')],
      [at('real.html'), at('hard.html')],
      [at('real.html'), at('soft.html')],
      [at('later.html'), at('dangling.html')],
    ]
    for (const [a, b] of pairs) {
      expect(() => checkOutputs(file('--html', a), file('--out', b)), b).toThrow(
        new UsageError(`--html ${a} and --out ${b} are the same file, expected two`),
      )
    }
    checkOutputs(file('--html', at('x.html')), file('--out', at('y.html')), file('--svg', at('real.html')))
  })

  test.runIf(process.platform === 'linux')('a device takes any number', () => {
    checkOutputs(file('--html', '/dev/null'), file('--out', '/dev/null'))
  })
})

describe.concurrent('commands refuse outputs before any work', PATIENT, () => {
  const TRACE = ['trace', MIXTRAL, '--tokens', '1,2']

  test.for<[message: string | RegExp, args: string[]]>([
    ['--html: is empty, expected the name of a file', [...TRACE, '--html', '']],
    ['--svg: is empty, expected the name of a file', ['cost', '--svg', '']],
    ['--svg: is empty, expected the name of a file', ['inspect', MIXTRAL, '--svg', '']],
    ['--out: is empty, expected the name of a file', ['eval', MIXTRAL, '--out', '']],
    ['--out: is empty, expected the name of a folder', ['train', '--preset', 'moe', '--out', '']],
    ['--out: is empty, expected the name of a folder', ['bench', '--out', '']],
    [
      '--out nowhere.json and --html ./nowhere.json are the same file, expected two',
      [...TRACE, '--html', './nowhere.json', '--out', 'nowhere.json'],
    ],
    [/^--out \/proc\/1\/x\/y: cannot be written \(ENOENT/, ['eval', MIXTRAL, '--out', '/proc/1/x/y']],
    [/^--out \/proc\/x\/y: cannot be written \(ENOENT/, ['train', '--preset', 'moe', '--out', '/proc/x/y']],
    [/^--out \/proc\/x\/y: cannot be written \(ENOENT/, ['bench', '--out', '/proc/x/y']],
    [/^--csv \/proc\/x\/y: cannot be written \(ENOENT/, [...TRACE, '--csv', '/proc/x/y']],
  ])('%s', async ([message, args], { expect }) => {
    const { code, stdout, stderr } = await tinymoe(...args)
    const [first] = stderr.split('\n')
    expect(first).toMatch(/^error: /)
    if (typeof message === 'string') expect(first).toBe(`error: ${message}`)
    else expect(first.replace(/^error: /, '')).toMatch(message)
    expect(stdout).toBe('')
    expect([1, 2]).toContain(code)
  })

  test.runIf(process.platform === 'linux')(
    'an eval whose report cannot be written after all prints it',
    async ({ expect }) => {
      const args = ['eval', 'models/moe', '--samples', '1', '--domains', 'dates', '--out', '/dev/full']
      const [forPeople, forPrograms] = await Promise.all([tinymoe(...args), tinymoe(...args, '--json')])
      const report = (stdout: string) => JSON.parse(stdout.trimEnd().split('\n').at(-1)!)
      for (const { code, stdout, stderr } of [forPeople, forPrograms]) {
        expect(stderr).toMatch(/error: --out \/dev\/full: cannot be written \(ENOSPC/)
        expect(code).toBe(1)
        expect(report(stdout).format).toBe('tinymoe-eval')
      }
    },
  )
})
