import { type ChildProcess, fork } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { TinymoeError } from '../../src/errors.ts'
import { exitCodeOf } from '../../src/signals.ts'
import type { PlannedRun } from './plan.ts'
import { readResult, type StudyRun } from './train.ts'

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))
/** Named by its place, for the current folder may be any. */
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
/** Of what a failed process wrote on stderr, enough to see why. */
const KEPT_CHARS = 2000

export interface JobHooks {
  signal: AbortSignal
  onStep(run: PlannedRun, step: number, crossEntropy: number): void
  onResult(result: StudyRun): void
}

/**
 * Does the runs in `jobs` processes at a time, each with one thread, under `out`. After an abort, or where one fails, those
 * that run write a checkpoint and end.
 * @throws TinymoeError that says which run failed and why
 */
export async function runJobs(out: string, runs: PlannedRun[], jobs: number, hooks: JobHooks): Promise<void> {
  const waiting = [...runs]
  const children = new Set<ChildProcess>()
  let failure: TinymoeError | null = null
  const stop = () => {
    waiting.length = 0
    for (const child of children) if (child.connected) child.send('stop')
  }
  hooks.signal.addEventListener('abort', stop)
  const work = async () => {
    for (let run = waiting.shift(); run; run = waiting.shift()) {
      const problem = await runOne(out, run, children, hooks)
      if (problem === null) continue
      failure ??= new TinymoeError(`${run.id} failed: ${problem}`)
      stop()
    }
  }
  if (hooks.signal.aborted) stop()
  await Promise.all(Array.from({ length: jobs }, work))
  hooks.signal.removeEventListener('abort', stop)
  if (failure) throw failure
}

/** Resolves to why the process failed, or null. */
async function runOne(
  out: string,
  run: PlannedRun,
  children: Set<ChildProcess>,
  { onStep, onResult }: JobHooks,
): Promise<string | null> {
  const folder = join(out, run.id)
  // A process group of its own: a Ctrl-C reaches this process, which tells its children.
  const child = fork(WORKER, [folder, JSON.stringify(run)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, TF_NUM_INTRAOP_THREADS: '1', TF_NUM_INTEROP_THREADS: '1' },
    execArgv: ['--import', TSX],
    detached: true,
  })
  children.add(child)
  let said = ''
  child.stderr!.on('data', (chunk) => {
    said = (said + chunk).slice(-KEPT_CHARS)
  })
  child.on('message', (message) => {
    const { step, crossEntropy } = message as { step: number; crossEntropy: number }
    onStep(run, step, crossEntropy)
  })
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (...ending) => resolve(ending))
  })
  children.delete(child)
  if (code === exitCodeOf('SIGINT')) return null
  const result = code === 0 ? readResult(folder, run) : null
  if (!result) return said.trim() || `its process ended with ${signal ?? `code ${code}`}`
  onResult(result)
  return null
}
