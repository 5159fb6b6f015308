/**
 * Times a whole model of tinymoe: prefill, and greedy decode through its cache. The twin of whole_model.py: the same flags,
 * the same prompts, the same JSON as last line. `npx tsx bench/peers/whole-model.ts --model DIR --threads 2`
 */
import { Command } from 'commander'
import { MAX_THREADS } from '../../src/device/threads.ts'
import { checkPromptLength } from '../../src/generate/generate.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { MAX_TOKENS, wholeNumber } from '../../src/script/arguments.ts'
import { addFlags, DTYPE, EXECUTOR, flags, type Given, REQUIRED } from '../../src/script/flags.ts'
import { write } from '../../src/script/output.ts'
import { runScript } from '../../src/script/run.ts'
import { checkRunSize } from '../../src/script/run-size.ts'
import type { ChosenRow } from './output.ts'

const FLAGS = flags({
  model: ['<dir>', 'a Hugging Face directory', undefined, REQUIRED],
  prefill: ['<n>', 'tokens of the prefill case; 0 leaves it out', wholeNumber(0, MAX_TOKENS), 512],
  decode: ['<n>', 'steps of the decode case; 0 leaves it out', wholeNumber(0, MAX_TOKENS), 64],
  prompt: ['<n>', 'tokens in the cache before the first step', wholeNumber(1, MAX_TOKENS), 64],
  batch: ['<n>', 'sequences of the decode case, of different lengths', wholeNumber(1, 4096), 1],
  threads: ['<n>', "threads of TensorFlow's ops; default: all", wholeNumber(1, MAX_THREADS)],
  samples: ['<n>', 'timed runs of each case', wholeNumber(1, 10_000), 5],
  executor: EXECUTOR,
  dtype: DTYPE,
})
type Flags = Given<typeof FLAGS>

/** Ids that whole_model.py makes too: a random number of 31 bits after the other (Park and Miller 1988). */
function promptIds(length: number, sequence: number, vocabSize: number): number[] {
  let state = sequence + 1
  const ids = Array.from({ length: length + 8 }, () => {
    state = (state * 48271) % 2147483647 // below 2^53
    return state % vocabSize
  })
  return ids.slice(8)
}

/** Ragged: from the whole prompt down to about half of it. */
function promptLengths(prompt: number, batch: number): number[] {
  return Array.from({ length: batch }, (_, b) => prompt - Math.floor((b * prompt) / (2 * batch)))
}

/** Milliseconds of greedy calls, and the token of each sequence that each call chose: of the prompts, or of `steps` behind them. */
function run(
  model: LoadedModel,
  prompts: number[][],
  steps: number,
): Pick<ChosenRow, 'chosen'> & { ms: number } {
  const cache = steps > 0 ? model.createCache() : undefined
  try {
    const calls = Math.max(1, steps)
    let fed = prompts
    const call = () => {
      const { tokens } = model.greedy(fed, { cache })
      fed = tokens.map((token) => [token])
      return tokens
    }
    if (steps > 0) call()
    const started = performance.now()
    const chosen = Array.from({ length: calls }, call)
    return { ms: performance.now() - started, chosen }
  } finally {
    cache?.dispose()
  }
}

/** The first run warms up. */
function sample(model: LoadedModel, prompts: number[][], steps: number, samples: number) {
  run(model, prompts, steps)
  const runs = Array.from({ length: samples }, () => run(model, prompts, steps))
  return { samplesMs: runs.map(({ ms }) => ms), chosen: runs[0].chosen }
}

function measure(model: LoadedModel, { prefill, decode, prompt, batch, samples }: Flags): ChosenRow[] {
  const { executor: implementation, config } = model
  const idsOf = (length: number, b: number) => promptIds(length, b, config.vocabSize)
  const rows: ChosenRow[] = []
  if (prefill > 0) {
    const facts = { kind: 'prefill', implementation, batch: 1, tokens: prefill } as const
    rows.push({ ...facts, ...sample(model, [idsOf(prefill, 0)], 0, samples) })
  }
  if (decode > 0) {
    const facts = { kind: 'decode', implementation, batch, tokens: decode * batch } as const
    rows.push({ ...facts, ...sample(model, promptLengths(prompt, batch).map(idsOf), decode, samples) })
  }
  return rows
}

async function timeModel(flags: Flags): Promise<void> {
  const { executor, dtype, threads, prefill, prompt, decode, batch } = flags
  const model = await loadModel(flags.model, { device: 'cpu', executor, dtype, threads })
  try {
    for (const tokens of [prefill, prompt + decode]) checkPromptLength(tokens, model.config)
    const sizes = `--batch ${batch} --prompt ${prompt} --decode ${decode}`
    checkRunSize(sizes, model, { sequences: batch, tokens: prompt + decode })
    const rows = measure(model, flags)
    const { tensorflowVersion, nodeVersion, threads, threadsReason } = model.runtime
    const versions = { tensorflow: tensorflowVersion, node: nodeVersion }
    await write(`${JSON.stringify({ library: 'tinymoe', versions, threads, threadsReason, rows })}\n`)
  } finally {
    model.dispose()
  }
}

const program = addFlags(new Command('tsx bench/peers/whole-model.ts'), FLAGS)
  .description('Times a whole model: prefill, and greedy decode through its cache, on the processor.')
  .usage('--model DIR [options]')
  .action(timeModel)

await runScript(program)
