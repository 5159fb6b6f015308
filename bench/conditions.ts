import { execFile } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { loadavg, platform } from 'node:os'
import { promisify } from 'node:util'
import { packageRoot } from './store.ts'

const run = promisify(execFile)

/** The checkout's commit, `-dirty` when tracked files differ from it; null without git or outside a checkout. */
export async function gitCommit(root = packageRoot()): Promise<string | null> {
  try {
    const { stdout: top } = await run('git', ['rev-parse', '--show-toplevel'], { cwd: root })
    // An installed package may lie inside somebody else's repository.
    if (realpathSync(top.trim()) !== realpathSync(root)) return null
    const { stdout } = await run('git', ['describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'], {
      cwd: root,
    })
    return stdout.trim()
  } catch {
    return null
  }
}

/** Busy threads on average over the last minute; Windows does not tell (Node gives 0 there). */
export function loadAverage(): number | null {
  return platform() === 'win32' ? null : Number(loadavg()[0].toFixed(2))
}
