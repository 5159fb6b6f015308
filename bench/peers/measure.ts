import { join } from 'node:path'
import { z } from 'zod'
import { TinymoeError } from '../../src/errors.ts'
import { packageRoot } from '../../src/package.ts'
import { UNTIMED_STEPS } from '../cases/model.ts'
import { usesTf32 } from '../conditions.ts'
import type { BenchHooks, BenchOptions } from '../options.ts'
import { type Parent, runCommand } from '../processes.ts'
import type { PeerName, PeerOutcome, PeerReport } from '../schema.ts'
import { llamaBench } from './llama-bench.ts'
import { ModelOutput, PeerOutput, readOutput, Samples } from './output.ts'
import { modelWork, type PeerWork, peerRow } from './work.ts'

/** Time of all implementations of one T of the layer together. */
const LAYER_BUDGET_MS = { quick: 1500, default: 6000, full: 12_000, gpu: 6000, 'gpu-smoke': 3000 } as const
const MODEL_SAMPLES = 5

/** The last line that bench/peers/moe_layer.py prints. */
const LayerOutput = PeerOutput.extend({
  rows: z.array(z.object({ implementation: z.string(), tokens: z.number(), samplesMs: Samples })),
})

type Hooks = Pick<BenchHooks, 'signal' | 'onProgress' | 'onDeath' | 'limits'>

/** Times the peers that were asked for, each in a process of its own. A missing part is a sentence. */
export async function measurePeers(
  { python, llamaBench: llama, preset }: Pick<BenchOptions, 'python' | 'llamaBench' | 'preset'>,
  work: PeerWork,
  hooks: Hooks,
): Promise<PeerOutcome[]> {
  const outcomes: PeerOutcome[] = []
  const measure = async (peer: PeerName, what: string, run: () => Promise<PeerReport>) => {
    hooks.onProgress(1, what)
    outcomes.push(await outcomeOf(peer, what, run, hooks))
  }
  const [hasLayers, hasModels] = [work.tokens.length > 0, work.plan.models.length > 0]
  const budgetMs = hooks.limits?.budgetMs ?? LAYER_BUDGET_MS[preset]
  if (python !== null && hasLayers)
    await measure('transformers-layer', 'The layer by transformers', () =>
      transformersLayer(python, work, budgetMs, hooks),
    )
  if (python !== null && hasModels)
    await measure('transformers-model', 'The model by transformers', () =>
      transformersModel(python, work, hooks),
    )
  if (llama && hasModels) await measure('llama.cpp', 'llama.cpp', () => llamaBench(llama, work, hooks))
  return outcomes
}

/** A peer's report, or the sentence that says why there is none. */
async function outcomeOf(
  peer: PeerName,
  what: string,
  run: () => Promise<PeerReport>,
  { signal }: Parent,
): Promise<PeerOutcome> {
  try {
    return { peer, report: await run(), problem: null }
  } catch (error) {
    if (!(error instanceof TinymoeError)) throw error
    const why = signal.aborted ? 'the bench was interrupted' : error.message
    return { peer, report: null, problem: `${what} was not measured: ${why}.` }
  }
}

async function transformersLayer(
  python: string,
  { dims: { D, H, E, K }, tokens, model: { runtime }, seed }: PeerWork,
  budgetMs: number,
  parent: Parent,
): Promise<PeerReport> {
  const flags = {
    tokens: tokens.join(','),
    dim: D,
    hidden: H,
    experts: E,
    'top-k': K,
    threads: runtime.threads,
    'budget-ms': budgetMs,
    seed,
    device: runtime.device === 'cuda' ? 'cuda' : 'cpu',
    ...(usesTf32(runtime) ? { tf32: 1 } : {}),
  }
  const { rows, ...facts } = await runPeer(python, 'moe_layer.py', flags, LayerOutput, parent)
  return {
    ...facts,
    what: `a Mixtral block of D=${D} H=${H} E=${E} K=${K} with random weights`,
    rows: rows.map(({ implementation, tokens: T, samplesMs }) =>
      peerRow({ implementation, kind: 'layer', tokens: T, batch: 1, context: null }, samplesMs),
    ),
  }
}

async function transformersModel(
  python: string,
  { model: { dir, runtime }, plan }: PeerWork,
  parent: Parent,
): Promise<PeerReport> {
  const { steps, baseContext } = plan
  if (runtime.device === 'cuda')
    throw new TinymoeError('bench/peers/whole_model.py runs on the processor, and the device here is cuda')
  const { prefill, decode } = modelWork(plan)
  const prompt = baseContext + UNTIMED_STEPS // so that its timed steps see as many keys as ours
  const flags = { model: dir, prefill, decode, prompt, threads: runtime.threads, samples: MODEL_SAMPLES }
  const { rows, ...facts } = await runPeer(python, 'whole_model.py', flags, ModelOutput, parent)
  return {
    ...facts,
    what: `the model's files in ${facts.library}`,
    rows: rows.map(({ kind, implementation, batch, tokens, samplesMs }) => {
      const calls = kind === 'decode' ? steps : 1
      const context = kind === 'decode' ? prompt + Math.floor(steps / 2) + 1 : prefill
      return peerRow(
        { implementation, kind, tokens: tokens / calls, batch, context },
        samplesMs.map((ms) => ms / calls),
      )
    }),
  }
}

async function runPeer<T>(
  python: string,
  name: string,
  flags: Record<string, string | number>,
  schema: z.ZodType<T>,
  parent: Parent,
): Promise<T> {
  const script = join(packageRoot(), 'bench', 'peers', name)
  const values = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)])
  const finished = await runCommand(python, [script, ...values], parent)
  if (finished.failure) finished.failure += '; --python names another interpreter'
  return readOutput(python, finished, schema)
}
