/**
 * Times a whole model of tinymoe: prefill, and greedy decode through its cache. The twin of whole_model.py: the same flags,
 * the same prompts, the same JSON as last line. `npx tsx bench/peers/whole-model.ts --model DIR --threads 2`
 */
import { parseArgs } from 'node:util'
import { EXECUTORS, type Executor, type LoadedModel, loadModel } from '../../src/load-model.ts'
import type { ChosenRow } from './output.ts'

interface Run {
  ms: number
  chosen: number[][]
}

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

function runPrefill(model: LoadedModel, prompt: number[]): Run {
  const started = performance.now()
  const { tokens } = model.greedy(prompt)
  return { ms: performance.now() - started, chosen: [tokens] }
}

/** Milliseconds of `steps` greedy steps behind prompts, which are not counted. */
function runDecode(model: LoadedModel, prompts: number[][], steps: number): Run {
  const cache = model.createCache()
  try {
    let { tokens } = model.greedy(prompts, { cache })
    const chosen: number[][] = []
    const started = performance.now()
    for (let step = 0; step < steps; step++) {
      const fed = tokens.map((token) => [token])
      tokens = model.greedy(fed, { cache }).tokens
      chosen.push(tokens)
    }
    return { ms: performance.now() - started, chosen }
  } finally {
    cache.dispose()
  }
}

/** The first run warms up. */
function sample(run: () => Run, samples: number): Pick<ChosenRow, 'samplesMs' | 'chosen'> {
  run()
  const runs = Array.from({ length: samples }, run)
  return { samplesMs: runs.map(({ ms }) => ms), chosen: runs[0].chosen }
}

const number = (fallback: number) => ({ type: 'string', default: String(fallback) }) as const
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    prefill: number(512),
    decode: number(64),
    prompt: number(64),
    batch: number(1),
    threads: { type: 'string' },
    samples: number(5),
    executor: { type: 'string', default: 'recorded' },
    json: { type: 'boolean', default: false },
  },
})
const [prefill, steps, prompt, batch, samples] = (
  ['prefill', 'decode', 'prompt', 'batch', 'samples'] as const
).map((name) => Number(values[name]))
const executor = EXECUTORS.find((name) => name === values.executor) as Executor
const model = await loadModel(values.model as string, {
  device: 'cpu',
  executor,
  threads: values.threads === undefined ? undefined : Number(values.threads),
})
const V = model.config.vocabSize
const rows: ChosenRow[] = []
if (prefill > 0) {
  const ids = promptIds(prefill, 0, V)
  const facts = { kind: 'prefill', implementation: executor, batch: 1, tokens: prefill } as const
  rows.push({ ...facts, ...sample(() => runPrefill(model, ids), samples) })
}
if (steps > 0) {
  const prompts = promptLengths(prompt, batch).map((length, b) => promptIds(length, b, V))
  const facts = { kind: 'decode', implementation: executor, batch, tokens: steps * batch } as const
  rows.push({ ...facts, ...sample(() => runDecode(model, prompts, steps), samples) })
}
const { tensorflowVersion, nodeVersion, threads, threadsReason } = model.runtime
if (values.json) {
  const versions = { tensorflow: tensorflowVersion, node: nodeVersion }
  console.log(JSON.stringify({ library: 'tinymoe', versions, threads, threadsReason, rows }))
} else {
  for (const { kind, batch, tokens, samplesMs } of rows) {
    const median = samplesMs.toSorted((a, b) => a - b)[Math.floor(samplesMs.length / 2)]
    const rate = (tokens * 1000) / median
    console.log(`${kind} ${executor} batch ${batch}: ${median.toFixed(1)} ms, ${rate.toFixed(1)} tokens/s`)
  }
}
model.dispose()
