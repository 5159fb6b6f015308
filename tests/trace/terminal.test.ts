import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import type { ReadStream, WriteStream } from 'node:tty'
import { describe, expect, onTestFinished, test } from 'vitest'
import { runScreen } from '../../src/cli/screen.ts'
import { COMMAND, MIXTRAL, PATIENT, REPOSITORY } from '../cli/run-cli.ts'
import { TERMINALS, type Terminal } from './terminal.ts'

/** Shell words of the stepping command, run so that its process id, exit code and what it left of the terminal are seen. */
function command(dir: string): string {
  const step = [...COMMAND, 'trace', MIXTRAL, '--tokens', '1,5,34,139', '--step'].map((word) => `'${word}'`)
  const inner = `echo $$ > ${join(dir, 'pid')}; cd ${REPOSITORY}; exec ${step.join(' ')}`
  const after = `echo LEFT $?; stty -a | grep -ow -e '-*icanon' -e '-*echo'; exec cat`
  return `sh -c "${inner.replaceAll('$', '\\$')}"; ${after}`
}

function open(terminal: (typeof TERMINALS)[0]): { terminal: Terminal; pid: () => number } {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-step-'))
  const opened = terminal.open(command(dir))
  onTestFinished(() => {
    opened.close()
    rmSync(dir, { recursive: true })
  })
  return { terminal: opened, pid: () => Number(readFileSync(join(dir, 'pid'), 'utf8')) }
}

/** Lines are read and echoed again, and the screen from before is back. */
function left(code: number): RegExp {
  return new RegExp(`LEFT ${code}\\n(?:icanon\\necho|echo\\nicanon)`)
}

test.skipIf(TERMINALS.length === 0)('there is tmux or script to try --step in a terminal with', () => {
  expect(TERMINALS.length).toBeGreaterThan(0)
})

describe.each(TERMINALS)('--step in a terminal ($name)', PATIENT, (kind) => {
  test('walks by keys, and q gives the terminal back', async () => {
    const { terminal } = open(kind)
    await terminal.waitFor(/layer 0, token 0 of sequence 0: 1 .*step 1\/4[\s\S]*z = x Wr[\s\S]*q quit/)
    terminal.send('n')
    const before = await terminal.waitFor(/step 2\/4[\s\S]*s = softmax\(z\)[\s\S]*q quit/)
    expect(before).not.toContain('*') // nothing is chosen yet
    terminal.send('\x1b[C ') // right, space
    await terminal.waitFor(/step 4\/4[\s\S]*renormalise[\s\S]*q quit/) // steps that do not apply are passed over
    terminal.send('b\x1b[D') // b, left
    await terminal.waitFor(/step 2\/4[\s\S]*q quit/)
    terminal.send('ltt')
    await terminal.waitFor(
      /layer 1, token 2 of sequence 0: 34 .*layer 2\/3, token 3\/4, step 2\/4[\s\S]*q quit/,
    )
    terminal.send('LT')
    await terminal.waitFor(/layer 0, token 1 of sequence 0: 5 .*step 2\/4[\s\S]*q quit/)
    terminal.send('h')
    await terminal.waitFor(/q, Ctrl-C +quit/)
    terminal.send('h')
    terminal.send('n')
    const screen = await terminal.waitFor(/step 3\/4[\s\S]*q quit/)
    expect(screen).toMatch(/3 {2}top-k +indices = the 2 largest c\n[\s\S]*rank +0 +1\n +expert +\d +\d\n/)
    expect(screen.match(/\d\*/g)).toHaveLength(2)
    terminal.send('q')
    await terminal.waitFor(left(0))
  })
})

describe.each(TERMINALS.slice(0, 1))('leaving --step otherwise ($name)', PATIENT, (kind) => {
  test.each([
    ['Ctrl-C', (terminal: Terminal): void => terminal.send('\x03'), 130],
    ['SIGINT', (_: Terminal, pid: number): void => void process.kill(pid, 'SIGINT'), 130],
    ['SIGTERM', (_: Terminal, pid: number): void => void process.kill(pid, 'SIGTERM'), 143],
  ] as const)('%s gives the terminal back', async (_, stop, code) => {
    const { terminal, pid } = open(kind)
    await terminal.waitFor(/step 1\/4[\s\S]*q quit/)
    stop(terminal, pid())
    await terminal.waitFor(left(code))
  })
})

describe('a full-screen program', () => {
  /** Streams that look like a terminal and note what happens to them. */
  function fakeTerminal() {
    const raw: boolean[] = []
    const input = Object.assign(new PassThrough(), { setRawMode: (on: boolean) => raw.push(on) })
    const output = Object.assign(new PassThrough(), { columns: 40, rows: 3 })
    let written = ''
    output.setEncoding('utf8').on('data', (text: string) => {
      written += text
    })
    return {
      raw,
      input,
      output,
      written: () => written,
      streams: [input as unknown as ReadStream, output as unknown as WriteStream] as const,
    }
  }
  const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l'

  test('draws for the size, again after keys and resizing, and ends with the code of the key', async () => {
    const { raw, input, output, written, streams } = fakeTerminal()
    const sizes: [number, number][] = []
    const keys: string[] = []
    const ended = runScreen(
      {
        draw: (width, height) => {
          sizes.push([width, height])
          return ['one', 'two']
        },
        key: ({ name }) => {
          keys.push(String(name))
          return name === 'q' ? 7 : null
        },
      },
      ...streams,
    )
    input.write('x')
    await new Promise(setImmediate)
    Object.assign(output, { columns: 50, rows: 4 }).emit('resize')
    input.write('q')
    expect(await ended).toBe(7)
    expect(keys).toEqual(['x', 'q'])
    expect(sizes).toEqual([
      [40, 3],
      [40, 3],
      [50, 4],
    ])
    expect(raw).toEqual([true, false])
    expect(written()).toContain('\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J')
    expect(written().endsWith(LEAVE)).toBe(true)
    expect(written().split(LEAVE)).toHaveLength(2)
  })

  test.each(['draw', 'key'] as const)(
    'an error in %s gives the terminal back and is passed on',
    async (place) => {
      const { raw, input, written, streams } = fakeTerminal()
      const listeners = process.listenerCount('SIGTERM')
      const fail = () => {
        throw new Error(`broken ${place}`)
      }
      const ended = runScreen(
        { draw: place === 'draw' ? fail : () => [], key: place === 'key' ? fail : () => null },
        ...streams,
      )
      input.write('x')
      await expect(ended).rejects.toThrow(`broken ${place}`)
      expect(raw).toEqual([true, false])
      expect(written().endsWith(LEAVE)).toBe(true)
      expect(process.listenerCount('SIGTERM')).toBe(listeners)
      expect(input.listenerCount('keypress')).toBe(0)
    },
  )

  test('the end of the input ends it', async () => {
    const { raw, input, streams } = fakeTerminal()
    const ended = runScreen({ draw: () => [], key: () => null }, ...streams)
    input.end()
    expect(await ended).toBe(0)
    expect(raw).toEqual([true, false])
  })
})
