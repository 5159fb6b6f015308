import { join } from 'node:path'
import { z } from 'zod'
import type { RuntimeReport } from '../../src/device/index.ts'
import { packageRoot } from '../../src/package.ts'
import { UNTIMED_STEPS } from '../cases/model.ts'
import { usesTf32 } from '../conditions.ts'
import type { BenchHooks, BenchOptions } from '../options.ts'
import { ending, type Finished, type Parent, runCommand } from '../processes.ts'
import type { PeerName, PeerOutcome, PeerReport } from '../schema.ts'
import { llamaBench } from './llama-bench.ts'
import { ModelOutput, PeerOutput, readOutput, Samples } from './output.ts'
import { modelWork, type PeerWork, peerRow } from './work.ts'

/** Time of all implementations of one T of the layer together. */
const LAYER_BUDGET_MS = { quick: 1500, default: 6000, full: 12_000, gpu: 6000 } as const
const MODEL_SAMPLES = 5

/** The last line that bench/peers/moe_layer.py prints. */
const LayerOutput = PeerOutput.extend({
  rows: z.array(z.object({ implementation: z.string(), tokens: z.number(), samplesMs: Samples })),
})

/** Times the peers that were asked for, each in a process of its own. A missing part is a sentence. */
export async function measurePeers(
  options: Pick<BenchOptions, 'python' | 'llamaBench' | 'preset'>,
  work: PeerWork,
  hooks: Pick<BenchHooks, 'signal' | 'onProgress' | 'onDeath' | 'limits'>,
): Promise<PeerOutcome[]> {
  const { python, llamaBench: llama, preset } = options
  const { onProgress, limits } = hooks
  const outcomes: PeerOutcome[] = []
  const [hasLayers, hasModels] = [work.tokens.length > 0, work.plan.models.length > 0]
  if (python !== null && hasLayers) {
    const budgetMs = limits?.budgetMs ?? LAYER_BUDGET_MS[preset]
    onProgress(1, 'transformers, the same layer')
    outcomes.push(await transformersLayer(python, work, budgetMs, hooks))
  }
  if (python !== null && hasModels) {
    onProgress(1, 'transformers, the same model')
    outcomes.push(await transformersModel(python, work, hooks))
  }
  if (llama && hasModels) {
    onProgress(1, 'llama.cpp')
    outcomes.push(await llamaBench(llama, work, hooks))
  }
  return outcomes
}

async function transformersLayer(
  python: string,
  { dims, tokens, model, seed }: PeerWork,
  budgetMs: number,
  parent: Parent,
): Promise<PeerOutcome> {
  const { D, H, E, K } = dims
  const { runtime } = model
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
  const finished = await runPeer(python, 'moe_layer.py', flags, parent)
  return outcome('transformers-layer', python, finished, LayerOutput, parent, ({ rows, ...facts }) => ({
    ...facts,
    what: `a Mixtral block of D=${D} H=${H} E=${E} K=${K} with random weights`,
    rows: rows.map(({ implementation, tokens: T, samplesMs }) =>
      peerRow({ implementation, kind: 'layer', tokens: T, batch: 1, context: null }, samplesMs),
    ),
  }))
}

async function transformersModel(
  python: string,
  { model: { dir, runtime }, plan }: PeerWork,
  parent: Parent,
): Promise<PeerOutcome> {
  const { steps, baseContext } = plan
  if (runtime.device === 'cuda') return onlyOnProcessor(runtime)
  const { prefill, decode } = modelWork(plan)
  const prompt = baseContext + UNTIMED_STEPS // so that its timed steps see as many keys as ours
  const flags = {
    model: dir,
    prefill,
    decode,
    prompt,
    threads: runtime.threads,
    samples: MODEL_SAMPLES,
  }
  const finished = await runPeer(python, 'whole_model.py', flags, parent, ['--json'])
  return outcome('transformers-model', python, finished, ModelOutput, parent, ({ rows, ...facts }) => ({
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
  }))
}

function onlyOnProcessor({ device }: RuntimeReport): PeerOutcome {
  return {
    peer: 'transformers-model',
    report: null,
    problem: `The model by transformers was not measured: bench/peers/whole_model.py runs on the processor, and the device here is ${device}.`,
  }
}

function runPeer(
  python: string,
  name: string,
  flags: Record<string, string | number>,
  parent: Parent,
  more: string[] = [],
): Promise<Finished> {
  const script = join(packageRoot(), 'bench', 'peers', name)
  const values = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)])
  return runCommand(python, [script, ...values, ...more], parent)
}

/** A report from what a script printed last, or the sentence that says why there is none. */
function outcome<T>(
  peer: PeerName,
  python: string,
  finished: Finished,
  schema: z.ZodType<T>,
  parent: Parent,
  report: (output: T) => PeerReport,
): PeerOutcome {
  const none = (why: string) => ({
    peer,
    report: null,
    problem: `The ${peer === 'transformers-layer' ? 'layer' : 'model'} by transformers was not measured: ${why}.`,
  })
  if (parent.signal.aborted) return none('the bench was interrupted')
  const { failure } = finished
  if (failure) return none(`${python} cannot be started (${failure}); --python names another interpreter`)
  const said = readOutput(finished, schema)
  if (!said) return none(`${python} ${ending(finished)}`)
  return 'output' in said ? { peer, report: report(said.output), problem: null } : none(said.problem)
}
