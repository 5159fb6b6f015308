import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'

/** A terminal of 100 x 24 with a program in it. */
export interface Terminal {
  send(keys: string): void
  /** Waits until what the screen shows (trailing spaces cut) satisfies a pattern, and returns it. */
  waitFor(pattern: RegExp): Promise<string>
  close(): void
}

const PATIENCE = 60_000
const SIZE = { columns: 100, rows: 24 }

/** Ways to have a terminal here, best first; none of them is a dependency. */
export const TERMINALS: { name: string; open(command: string): Terminal }[] = [
  ...(has('tmux', '-V') ? [{ name: 'tmux', open: openTmux }] : []),
  ...(has('script', '--version') ? [{ name: 'script', open: openScript }] : []),
]

function has(program: string, versionFlag: string): boolean {
  try {
    execFileSync(program, [versionFlag], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** tmux understands what is written to it, so the screen is what a person would see. */
function openTmux(command: string): Terminal {
  const socket = `tinymoe-test-${process.pid}-${Math.random().toString(36).slice(2)}`
  const tmux = (...args: string[]) =>
    execFileSync('tmux', ['-L', socket, '-f', '/dev/null', ...args], { encoding: 'utf8' })
  const start = () => tmux('new-session', '-d', '-x', String(SIZE.columns), '-y', String(SIZE.rows), command)
  try {
    start()
  } catch {
    start() // on a busy machine its server sometimes exits before the first session is there
  }
  return {
    send: (keys) => tmux('send-keys', '-l', keys),
    waitFor: (pattern) => poll(() => tmux('capture-pane', '-p'), pattern),
    close: () => tmux('kill-server'),
  }
}

/** script (util-linux) has the pseudo terminal alone: the screen is taken to be what was written since it was last redrawn. */
function openScript(command: string): Terminal {
  const child = spawn(
    'script',
    ['-qec', `stty columns ${SIZE.columns} rows ${SIZE.rows}; ${command}`, '/dev/null'],
    { stdio: 'pipe' },
  )
  let written = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    written += text
  })
  return {
    send: (keys) => child.stdin.write(keys),
    waitFor: (pattern) => poll(() => lastFrame(written), pattern),
    close: () => end(child),
  }
}

function lastFrame(written: string): string {
  const alternate = written.lastIndexOf('\x1b[?1049l')
  const from = alternate >= 0 ? alternate : written.lastIndexOf('\x1b[H')
  return stripVTControlCharacters(written.slice(Math.max(0, from))).replaceAll('\r', '')
}

function end(child: ChildProcess): void {
  child.stdin?.end()
  child.kill()
}

async function poll(read: () => string, pattern: RegExp): Promise<string> {
  const until = Date.now() + PATIENCE
  for (;;) {
    const screen = read()
      .split('\n')
      .map((line) => line.trimEnd())
      .join('\n')
    if (pattern.test(screen)) return screen
    if (Date.now() > until) throw new Error(`no ${pattern} on the screen:\n${screen}`)
    await sleep(50)
  }
}
