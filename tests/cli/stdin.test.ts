import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, test } from 'vitest'
import { COMMAND, MIXTRAL, mixtralWithText, outcomeOf, PATIENT, REPOSITORY } from './run-cli.ts'

const PROMPT = ['generate', MIXTRAL, '--device', 'js', '--prompt', '-']

/** Runs with a stdin by shell redirection. */
function withStdin(redirection: string, args = PROMPT) {
  const command = [...COMMAND, ...args].map((word) => `'${word}'`).join(' ')
  return outcomeOf(spawn('sh', ['-c', `${command} ${redirection}`], { cwd: REPOSITORY, stdio: 'pipe' }))
}

describe.concurrent('stdin that gives no text', PATIENT, () => {
  test.for<[what: string, redirection: string, message: string]>([
    ['closed', '<&-', '--prompt -: stdin is closed or /dev/null, expected a text'],
    ['/dev/null', '</dev/null', '--prompt -: stdin is closed or /dev/null, expected a text'],
    ['a directory', `<${tmpdir()}`, '--prompt -: stdin is a directory, expected a text'],
    ['endless', '</dev/zero', '--prompt -: stdin has more than 64 MiB, expected a text'],
  ])('%s', async ([, redirection, message], { expect }) => {
    const { code, stdout, stderr } = await withStdin(redirection)
    expect([code, stdout, stderr]).toEqual([1, '', `error: ${message}\n`])
  })

  test('opened for writing only', async ({ expect, onTestFinished }) => {
    const file = join(mkdtempSync(join(tmpdir(), 'tinymoe-stdin-')), 'written')
    onTestFinished(() => rmSync(dirname(file), { recursive: true }))
    const { code, stdout, stderr } = await withStdin(`0>${file}`)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^error: --prompt -: stdin cannot be read \(EBADF.*\)\n$/)
  })

  test('names the flag that asked', async (context) => {
    const { expect } = context
    const { stderr } = await withStdin('<&-', ['inspect', mixtralWithText(context), '--measure', '-'])
    expect(stderr).toBe('error: --measure -: stdin is closed or /dev/null, expected a text\n')
  })
})
