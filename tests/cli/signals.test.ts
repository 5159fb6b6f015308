import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { generateSample } from '../../src/corpus/index.ts'
import { readPrepared } from '../../src/device/prepared.ts'
import { ENDING_SIGNALS, exitCodeOf } from '../../src/signals.ts'
import { TERMINALS } from '../trace/terminal.ts'
import { COMMAND, PATIENT, REPOSITORY, startCli } from './run-cli.ts'
import { throughStorm, written } from './signal-storm.ts'

/** `TINYMOE_LONG=1` takes an hour and prints a table for docs/cli.md. */
const LONG = Boolean(process.env.TINYMOE_LONG)
const RUNS = LONG ? 30 : 3
/** With SIGWINCH, which ends nothing, a run goes on to its end. */
const ENDINGS = LONG ? (['SIGWINCH', ...ENDING_SIGNALS] as const) : ENDING_SIGNALS

const hasTensorflow = Object.values(await readPrepared()).some(({ addon }) => addon !== null)
const hasScript = TERMINALS.some(({ name }) => name === 'script')

let dir: string

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-signals-'))
  const texts = Array.from({ length: 60 }, (_, i) => generateSample('story', 'train', i, 1).text)
  writeFileSync(join(dir, 'texts.txt'), texts.join('\n\n'))
})

afterAll(() => rmSync(dir, { recursive: true }))

/** What computes for long, and how long it does here, about. */
const STORMED: Record<string, { args: (out: string) => string[]; ms: number }> = {
  eval: { args: () => ['eval', 'models/moe', '--samples', '20'], ms: 15_000 },
  ...(LONG && {
    bench: { args: (out) => ['bench', '--quick', '--out', out], ms: 35_000 },
    train: {
      args: (out) =>
        ['train', '--preset', 'moe', '--steps', '30', '--batch', '8', '--length', '128'].concat(
          ['--corpus', join(dir, 'texts.txt')],
          ['--out', out],
        ),
      ms: 35_000,
    },
  }),
}

describe.runIf(hasTensorflow && hasScript)('in a terminal that is resized all the time', () => {
  test.each(Object.keys(STORMED))(
    `%s: ${RUNS} runs end as they should`,
    { timeout: RUNS * 120_000 },
    async (name) => {
      const { args, ms } = STORMED[name]
      const ends: { ending: string; code: number; resizes: number }[] = []
      for (let run = 0; run < RUNS; run++) {
        const ending = ENDINGS[run % ENDINGS.length]
        const out = join(dir, `${name}-${run}`)
        mkdirSync(out)
        const command = [...COMMAND, '--device', 'cpu', ...args(join(out, 'to'))]
        const afterMs = 1000 + Math.random() * ms
        const { code, resizes, said } = await throughStorm(command, { ending, afterMs, cwd: REPOSITORY })
        ends.push({ ending, code, resizes })
        const expected = ending === 'SIGWINCH' ? [0] : [exitCodeOf(ending), 0] // 0 when it was done before
        expect(expected, `${name}, ${ending} after ${afterMs} ms: ${said.slice(-300)}`).toContain(code)
        rmSync(out, { recursive: true })
      }
      if (LONG) console.log(tableOf(name, ends))
    },
  )
})

function tableOf(name: string, ends: { ending: string; code: number; resizes: number }[]): string {
  const rows = ENDINGS.map((ending) => {
    const own = ends.filter((end) => end.ending === ending)
    const resizes = own.reduce((sum, end) => sum + end.resizes, 0)
    const codes = [...new Set(own.map(({ code }) => code))].map(
      (code) => `${code}: ${own.filter((end) => end.code === code).length}`,
    )
    return `| ${name} | ${ending} | ${own.length} | ${resizes} | ${codes.join(', ')} |`
  })
  return rows.join('\n')
}

describe.concurrent('a signal ends what has nothing to keep, with a sentence', PATIENT, () => {
  test.runIf(process.platform === 'linux').each(ENDING_SIGNALS)('%s', async (signal) => {
    const child = startCli('generate', 'models/moe', '--prompt', '-') // which waits for stdin
    const said = Promise.all([text(child.stdout!), text(child.stderr!)])
    const ended = new Promise((resolve) => child.once('close', resolve))
    await untilHandled(child.pid!)
    child.kill(signal)
    expect([await ended, ...(await said)]).toEqual([exitCodeOf(signal), '', `ended by ${signal}\n`])
  })
})

test('what a command has started ends with it', async () => {
  const file = join(dir, 'child')
  const program = fileURLToPath(new URL('wait-for-child.ts', import.meta.url))
  const parent = spawn(process.execPath, ['--import', 'tsx', program, file], { stdio: 'ignore' })
  const ended = new Promise((resolve) => parent.once('close', resolve))
  const child = Number(await written(file))
  parent.kill('SIGTERM')
  expect(await ended).toBe(143)
  await expect.poll(() => isRunning(child), { timeout: 10_000 }).toBe(false)
})

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Until the process has a handler for SIGHUP, which Node itself has none for. */
async function untilHandled(pid: number): Promise<void> {
  for (;;) {
    const caught = /^SigCgt:\t.*(\w)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    if (Number.parseInt(caught?.[1] ?? '0', 16) & 1) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
