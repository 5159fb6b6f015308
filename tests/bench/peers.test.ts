import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { measurePeers } from '../../bench/peers/measure.ts'
import { modelWork, type PeerWork } from '../../bench/peers/work.ts'
import type { PeerOutcome } from '../../bench/schema.ts'
import { report } from './rows.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'peers-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A program that does what it is told, whatever its arguments; it writes them down. */
function fake(body: string): string {
  const path = join(folder, `program-${readdirSync(folder).length}`)
  writeFileSync(path, `#!/bin/sh\necho "$@" >> ${join(folder, 'flags')}\n${body}\n`)
  chmodSync(path, 0o755)
  return path
}

function flagsGiven(): string {
  return readFileSync(join(folder, 'flags'), 'utf8')
}

const { runtime } = report([]).conditions
const WORK = {
  dims: { D: 8, H: 4, E: 4, K: 2 },
  tokens: [1, 2],
  model: { dir: '/models/tiny', runtime },
  plan: {
    baseContext: 128,
    steps: 4,
    models: [
      { kind: 'prefill' as const, batch: 1, context: 128 },
      { kind: 'prefill' as const, batch: 1, context: 512 },
      { kind: 'prefill' as const, batch: 8, context: 1024 },
      { kind: 'decode' as const, batch: 1, context: 128 },
    ] as PeerWork['plan']['models'],
  },
  seed: 1,
}

function measure(
  asked: { python?: string; llamaBench?: { binary: string; gguf: string } },
  signal = new AbortController().signal,
  work = WORK,
): Promise<PeerOutcome[]> {
  const options = { python: null, llamaBench: null, preset: 'quick' as const, ...asked }
  return measurePeers(options, work, { signal, onProgress: () => {} })
}

/** Prints one line for the layer and another for the whole model. */
function fakePython(layer: string, model = layer): string {
  return fake(`case "$1" in *moe_layer.py) echo remark; echo '${layer}';; *) echo '${model}';; esac`)
}

test('one that a signal ends is missing with that sentence, and told of', async () => {
  const binary = fake('kill -SEGV $$')
  const deaths: string[] = []
  const options = { python: null, llamaBench: { binary, gguf: 'm.gguf' }, preset: 'quick' as const }
  const { signal } = new AbortController()
  const hooks = { signal, onProgress: () => {}, onDeath: (sentence: string) => deaths.push(sentence) }
  const [{ report, problem }] = await measurePeers(options, WORK, hooks)
  expect(report).toBeNull()
  expect(problem).toBe(`llama.cpp was not measured: ${binary} was ended by SIGSEGV (it said nothing).`)
  expect(deaths).toEqual([expect.stringMatching(/^\S*program-\d+ -m m.gguf .* was ended by SIGSEGV$/)])
})

describe('transformers', () => {
  const versions = { torch: '2.13.0' }
  const facts = { library: 'transformers', versions, threads: 1 }
  const layer = { ...facts, rows: [{ implementation: 'eager', tokens: 2, samplesMs: [1, 2, 4] }] }
  const model = {
    ...facts,
    rows: [
      { kind: 'prefill', implementation: 'eager', batch: 1, tokens: 512, samplesMs: [100], chosen: [[1]] },
      {
        kind: 'decode',
        implementation: 'grouped_mm',
        batch: 1,
        tokens: 4,
        samplesMs: [8, 12, 16],
        chosen: [[1]],
      },
    ],
  }

  test('rows come from the last line, of one call each; flags carry the sizes', async () => {
    const outcomes = await measure({ python: fakePython(JSON.stringify(layer), JSON.stringify(model)) })
    expect(outcomes.map(({ peer, problem }) => [peer, problem])).toEqual([
      ['transformers-layer', null],
      ['transformers-model', null],
    ])
    const [one, whole] = outcomes.map(({ report: found }) => found!)
    expect(one).toMatchObject({ ...facts, what: 'a Mixtral block of D=8 H=4 E=4 K=2 with random weights' })
    expect(one.rows).toEqual([
      expect.objectContaining({
        kind: 'layer',
        tokens: 2,
        batch: 1,
        context: null,
        medianMs: 2,
        n: 3,
        tokensPerSecond: 1000,
      }),
    ])
    expect(whole.rows).toEqual([
      expect.objectContaining({
        kind: 'prefill',
        tokens: 512,
        context: 512,
        medianMs: 100,
        tokensPerSecond: 5120,
      }),
      // A sample is four calls of one token, behind 128 and the untimed one.
      expect.objectContaining({ kind: 'decode', tokens: 1, context: 132, medianMs: 3, samplesMs: [2, 3, 4] }),
    ])
    expect(flagsGiven()).toMatch(
      /bench\/peers\/moe_layer\.py --tokens 1,2 --dim 8 --hidden 4 --experts 4 --top-k 2 --threads 2 .* --device cpu$/m,
    )
    expect(flagsGiven()).toMatch(
      /bench\/peers\/whole_model\.py --model \/models\/tiny --prefill 512 --decode 4 --prompt 129 --threads 2 --samples 5$/m,
    )
  })

  test('on a card the layer runs there too, and the model is not measured', async () => {
    const cuda = { ...runtime, device: 'cuda' as const, computeCapability: '9.0' }
    const outcomes = await measure({ python: fakePython(JSON.stringify(layer)) }, undefined, {
      ...WORK,
      model: { ...WORK.model, runtime: cuda },
    })
    expect(flagsGiven()).toContain('--device cuda --tf32 1')
    expect(outcomes[1]).toMatchObject({
      report: null,
      problem: expect.stringContaining('runs on the processor'),
    })
  })

  test('an interpreter that is not there is one sentence a peer', async () => {
    const [one, whole] = await measure({ python: '/nowhere/python' })
    expect(one).toMatchObject({ peer: 'transformers-layer', report: null })
    expect(one.problem).toMatch(
      /^The layer by transformers was not measured: \/nowhere\/python cannot be started \(.*; --python names another interpreter\)\.$/,
    )
    expect(whole.problem).toMatch(/^The model by transformers was not measured: /)
  })

  test('what the script found missing is passed on', async () => {
    const python = fakePython('{"problem":"this Python has no usable torch (No module named torch)"}')
    const [one] = await measure({ python })
    expect(one.problem).toBe(
      'The layer by transformers was not measured: this Python has no usable torch (No module named torch).',
    )
  })

  test('a script that fails, or prints something else, is a sentence with its last words', async () => {
    const [failed] = await measure({ python: fake('echo "first" >&2; echo "MemoryError" >&2; exit 3') })
    expect(failed.problem).toMatch(/ended with code 3 \(MemoryError\)\.$/)
    const [silent] = await measure({ python: fake('exit 0') })
    expect(silent.problem).toMatch(/ended with code 0 \(it said nothing\)\.$/)
  })

  test('an interrupt ends the process', async () => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 50)
    const [one] = await measure({ python: fake('exec sleep 60') }, controller.signal)
    expect(one.problem).toContain('interrupted')
  })
})

describe('llama.cpp', () => {
  const common = {
    build_commit: 'abc1234',
    build_number: 4321,
    backends: 'CPU',
    model_type: 'llama 8x1B F16',
    n_threads: 2,
  }
  const tests = [
    { ...common, n_prompt: 512, n_gen: 0, n_depth: 0, samples_ns: [2e9, 1e9, 3e9], avg_ts: 1 },
    { ...common, n_prompt: 0, n_gen: 4, n_depth: 0, samples_ns: [4e7, 8e7, 6e7] },
    { ...common, n_prompt: 512, n_gen: 4, n_depth: 0, samples_ns: [1] },
  ]

  test('its prompts and tokens become rows of one call each', async () => {
    const binary = fake(`echo '${JSON.stringify(tests)}'`)
    const [{ peer, report: found, problem }] = await measure({
      llamaBench: { binary, gguf: '/models/tiny.gguf' },
    })
    expect([peer, problem]).toEqual(['llama.cpp', null])
    expect(found).toMatchObject({
      library: 'llama.cpp',
      what: 'tiny.gguf (llama 8x1B F16)',
      versions: { 'llama.cpp': '4321 (abc1234)', backends: 'CPU' },
      threads: 2,
    })
    expect(found?.rows).toEqual([
      expect.objectContaining({
        implementation: 'pp512',
        kind: 'prefill',
        tokens: 512,
        context: 512,
        medianMs: 2000,
      }),
      expect.objectContaining({
        implementation: 'tg4',
        kind: 'decode',
        tokens: 1,
        medianMs: 15,
        tokensPerSecond: 1000 / 15,
      }),
    ])
    expect(flagsGiven()).toContain('-m /models/tiny.gguf -p 512 -n 4 -r 5 -t 2 -ngl 0 -o json')
  })

  test('what goes wrong is one sentence', async () => {
    const problemOf = async (binary: string) =>
      (await measure({ llamaBench: { binary, gguf: 'x.gguf' } }))[0].problem
    expect(await problemOf('/nowhere/llama-bench')).toMatch(
      /^llama\.cpp was not measured: \/nowhere\/llama-bench cannot be started \(.*\)\.$/,
    )
    expect(await problemOf(fake('echo "failed to load model" >&2; exit 1'))).toMatch(
      /ended with code 1 \(failed to load model\)\.$/,
    )
    expect(await problemOf(fake('echo nothing'))).toMatch(/is not the JSON of a llama-bench \(/)
    expect(await problemOf(fake("echo '[]'"))).toMatch(/is not the JSON of a llama-bench \(/)
  })
})

test('peers get the work that was planned: nothing of what --only leaves out', async () => {
  const prefill = WORK.plan.models.slice(0, 3)
  expect(modelWork({ models: prefill, steps: 4 })).toEqual({ prefill: 512, decode: 0 })
  expect(modelWork(WORK.plan)).toEqual({ prefill: 512, decode: 4 })
  const llamaBench = { binary: '/no/llama-bench', gguf: 'x' }
  const asked = { python: '/no/python', llamaBench }
  const peersOf = async (work: typeof WORK) => (await measure(asked, undefined, work)).map(({ peer }) => peer)
  expect(await peersOf({ ...WORK, plan: { ...WORK.plan, models: [] } })).toEqual(['transformers-layer'])
  expect(await peersOf({ ...WORK, tokens: [] })).toEqual(['transformers-model', 'llama.cpp'])
})
