import { spawn } from 'node:child_process'
import { Command } from 'commander'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { InputError, UsageError } from '../../src/errors.ts'
import { wholeNumber } from '../../src/script/arguments.ts'
import { runScript } from '../../src/script/run.ts'
import { outcomeOf, PATIENT, REPOSITORY } from '../cli/run-cli.ts'

/** How a script ends whose action is `work`: its exit code (undefined: none was set) and what it said on stderr. */
async function ended(args: string[], work: () => void | Promise<void>) {
  const before = process.exitCode
  let stderr = ''
  const keep = (text: string | Uint8Array) => {
    stderr += text
    return true
  }
  const spies = [
    vi.spyOn(process.stderr, 'write').mockImplementation(keep),
    vi.spyOn(process.stdout, 'write').mockImplementation(() => true),
  ]
  onTestFinished(() => {
    process.exitCode = before
    for (const spy of spies) spy.mockRestore()
  })
  process.exitCode = undefined
  await runScript(new Command('script').option('--rows <n>', 'rows', wholeNumber(1, 9)).action(work), args)
  return { code: process.exitCode, stderr }
}

const USAGE = 'usage: script [options]\n(script --help lists arguments and options)\n'

describe('a script', () => {
  test('that works sets no exit code', async () => {
    expect(await ended([], () => {})).toEqual({ code: undefined, stderr: '' })
  })

  test('whose action fails on bad input says one sentence and exits 1', async () => {
    const work = async () => {
      throw new InputError('rows.json: is no list')
    }
    expect(await ended([], work)).toEqual({ code: 1, stderr: 'error: rows.json: is no list\n' })
  })

  test('that is used wrongly says so, shows its usage and exits 2', async () => {
    const wrong = "error: option '--rows <n>' argument '0' is invalid. Expected a whole number from 1 to 9.\n"
    expect(await ended(['--rows', '0'], () => {})).toEqual({ code: 2, stderr: `${wrong}${USAGE}` })
    const work = () => {
      throw new UsageError('give rows')
    }
    expect(await ended([], work)).toEqual({ code: 2, stderr: `error: give rows\n${USAGE}` })
  })

  test('with a fault of its own shows where, and exits 1', async () => {
    const work = () => {
      throw new RangeError('out of it')
    }
    const { code, stderr } = await ended([], work)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^RangeError: out of it\n {4}at Command\.work .*run\.test\.ts/)
  })

  test('asked for help exits 0', async () => {
    expect(await ended(['--help'], () => {})).toEqual({ code: 0, stderr: '' })
  })
})

describe.concurrent('scripts of this project', PATIENT, () => {
  test.for<[message: string, script: string, args: string[]]>([
    ["required option '--model <dir>' not specified", 'bench/peers/alternate.ts', []],
    [
      "option '--rounds <n>' argument '0' is invalid. Expected a whole number from 1 to 10000.",
      'bench/peers/alternate.ts',
      ['--model', 'models/moe', '--rounds', '0'],
    ],
    [
      "option '--executor <name>' argument 'quick' is invalid. Allowed choices are recorded, eager.",
      'bench/peers/whole-model.ts',
      ['--model', 'models/moe', '--executor', 'quick'],
    ],
    [
      "option '--prefill <n>' argument '5x' is invalid. Expected a whole number from 0 to 10000000.",
      'bench/peers/whole-model.ts',
      ['--model', 'models/moe', '--prefill', '5x'],
    ],
    [
      "option '--seeds <n>' argument '0' is invalid. Expected a whole number from 1 to 1000.",
      'bench/study.ts',
      ['--seeds', '0'],
    ],
    ['too many arguments. Expected 0 arguments but got 1.', 'bench/quality.ts', ['here']],
    ["unknown option '--all'", 'models/pin.ts', ['--all']],
    [
      "option '--size <name>' argument 'big' is invalid. Allowed choices are tiny, small, medium.",
      'models/make-random.ts',
      ['--size', 'big', '--out', 'nowhere'],
    ],
  ])('%s', async ([message, script, args], { expect }) => {
    const command = ['--import', 'tsx', script, ...args]
    const { code, stdout, stderr } = await outcomeOf(spawn(process.execPath, command, { cwd: REPOSITORY }))
    expect(stderr).toMatch(/\nusage: tsx .*\n\(tsx .* --help lists arguments and options\)\n$/)
    expect(stderr.split('\n')[0]).toBe(`error: ${message}`)
    expect(stderr).toContain(`usage: tsx ${script} `)
    expect([code, stdout]).toEqual([2, ''])
  })
})
