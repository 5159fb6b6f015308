import { execFile } from 'node:child_process'
import { readFileSync, realpathSync } from 'node:fs'
import { loadavg, platform } from 'node:os'
import { promisify } from 'node:util'
import type { RuntimeReport } from '../src/device/index.ts'
import { AMPERE } from '../src/device/report.ts'
import { packageRoot } from '../src/package.ts'

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

/** Linux's frequency governor of the first processor, such as `performance` or `powersave`; null where none is to be seen. */
export function governor(file = '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'): string | null {
  try {
    return readFileSync(file, 'utf8').trim() || null
  } catch {
    return null
  }
}

/**
 * Whether float32 products may be rounded to TensorFloat-32: TensorFlow lets cuBLAS do so on cards that can, unless the
 * environment forbids it. Null where the card is not known.
 */
export function usesTf32(
  { device, computeCapability }: RuntimeReport,
  env: Record<string, string | undefined> = process.env,
): boolean | null {
  if (device !== 'cuda' || env.NVIDIA_TF32_OVERRIDE === '0') return false
  return computeCapability === null ? null : Number.parseFloat(computeCapability) >= AMPERE
}
