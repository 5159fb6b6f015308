import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const RESIZES_PER_SECOND = 15

/** How a command came through a storm. */
export interface Weathered {
  /** As a shell has it: 128 + n for an end by signal n. */
  code: number
  /** How often its terminal was resized, each time a SIGWINCH. */
  resizes: number
  /** What it wrote on the terminal. */
  said: string
}

/**
 * Runs a command in a pseudo-terminal that is resized 15 times a second, sends it SIGWINCH at random moments besides, and
 * `ending` after so many milliseconds. Needs `script` of util-linux.
 */
export async function throughStorm(
  command: readonly string[],
  { ending, afterMs, cwd }: { ending: NodeJS.Signals; afterMs: number; cwd: string },
): Promise<Weathered> {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-storm-'))
  const [pidFile, ttyFile] = ['pid', 'tty'].map((name) => join(dir, name))
  const words = command.map((word) => `'${word}'`).join(' ')
  const child = spawn(
    'script',
    ['-qec', `tty > ${ttyFile}; echo $$ > ${pidFile}; exec ${words}`, '/dev/null'],
    { cwd },
  )
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const ended = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)))
  let over = false
  void ended.then(() => {
    over = true
  })
  let resizes = 0
  try {
    const pid = Number(await written(pidFile))
    const tty = (await written(ttyFile)).trim()
    const end = performance.now() + afterMs
    for (let sent = false; !over; ) {
      await Promise.race([sleep(1000 / RESIZES_PER_SECOND), ended])
      if (over) break
      execFile('stty', ['-F', tty, 'columns', String(80 + (resizes++ % 40))], () => {})
      if (Math.random() < 0.2) send(pid, 'SIGWINCH')
      if (sent || performance.now() < end) continue
      send(pid, ending)
      sent = true
    }
    return { code: await ended, resizes, said }
  } finally {
    if (!over) child.kill('SIGKILL')
    rmSync(dir, { recursive: true })
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {} // it has just ended
}

/** The text of a file once it is there, to the end of its line. */
export async function written(file: string): Promise<string> {
  for (;;) {
    try {
      const text = readFileSync(file, 'utf8')
      if (text.endsWith('\n')) return text
    } catch {} // not yet
    await sleep(20)
  }
}
