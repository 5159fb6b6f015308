import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { z } from 'zod'
import { messageOf } from '../src/errors.ts'
import { packageRoot } from './store.ts'
import type { BenchReport, LayerDims } from './types.ts'

export interface PeerOptions {
  python: string
  layer: LayerDims
  tokens: number[]
  threads: number
  /** For all implementations of one T together. */
  budgetMs: number
  seed: number
  signal: AbortSignal
}

/** The last line that bench/peers/transformers.py prints. */
const Output = z.union([
  z.object({ problem: z.string() }),
  z.object({
    library: z.string(),
    versions: z.record(z.string(), z.string()),
    threads: z.number(),
    rows: z.array(
      z.object({
        implementation: z.string(),
        tokens: z.number(),
        n: z.number(),
        medianMs: z.number(),
        p10Ms: z.number(),
        p90Ms: z.number(),
      }),
    ),
  }),
])

/** Times transformers' own implementations of the same layer in a Python process. A missing part is a sentence. */
export async function runPeers(options: PeerOptions): Promise<NonNullable<BenchReport['peers']>> {
  const { python, layer, tokens, threads, budgetMs, seed } = options
  const script = join(packageRoot(), 'bench', 'peers', 'transformers.py')
  const values = {
    tokens: tokens.join(','),
    dim: layer.D,
    hidden: layer.H,
    experts: layer.E,
    'top-k': layer.K,
    threads,
    'budget-ms': budgetMs,
    seed,
  }
  const flags = Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)])
  const { code, stdout, stderr, failure } = await runCommand(python, [script, ...flags], options.signal)
  const none = (why: string) => ({ report: null, problem: `The peers were not measured: ${why}.` })
  if (options.signal.aborted) return none('the bench was interrupted')
  if (failure) return none(`${python} cannot be started (${failure}); --python names another interpreter`)
  const output = parseOutput(stdout)
  if (!output) return none(`${python} ended with code ${code} (${lastLine(stderr) || 'it said nothing'})`)
  return 'problem' in output ? none(output.problem) : { report: output, problem: null }
}

function parseOutput(stdout: string): z.infer<typeof Output> | null {
  try {
    return Output.parse(JSON.parse(lastLine(stdout)))
  } catch {
    return null
  }
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}

interface Finished {
  code: number | null
  stdout: string
  stderr: string
  failure: string | null
}

function runCommand(command: string, args: string[], signal: AbortSignal): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], signal })
    const finished: Finished = { code: null, stdout: '', stderr: '', failure: null }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      finished.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      finished.stderr += text
    })
    child.on('error', (error) => resolve({ ...finished, failure: messageOf(error) }))
    child.on('close', (code) => resolve({ ...finished, code }))
  })
}
