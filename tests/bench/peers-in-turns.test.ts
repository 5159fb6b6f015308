import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { takeTurns, turnsTable } from '../../bench/peers/in-turns.ts'
import { type ChosenRow, ModelOutput } from '../../bench/peers/output.ts'
import { MIXTRAL, outcomeOf, REPOSITORY } from '../cli/run-cli.ts'

// Each turn is announced there.
beforeEach(() => {
  const spy = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  return () => spy.mockRestore()
})

/** Programs of the shell by name; each writes down its name and arguments in `calls`. */
function programs(bodies: Record<string, string>) {
  const dir = mkdtempSync(join(tmpdir(), 'peers-in-turns-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const calls = join(dir, 'calls')
  const paths = Object.entries(bodies).map(([name, body]) => {
    const path = join(dir, name)
    writeFileSync(path, `#!/bin/sh\necho ${name} "$@" >> ${calls}\n${body}\n`)
    chmodSync(path, 0o755)
    return path
  })
  return { paths, calls: () => readFileSync(calls, 'utf8').trim().split('\n') }
}

const saying = (output: unknown) => `echo '${JSON.stringify(output)}'`
const failure = (body: string) => takeTurns([programs({ side: body }).paths], [[]], 1)

test('sides take turns, samples of all rounds come together, and equal texts are counted', async () => {
  const decode = { kind: 'decode', batch: 4, tokens: 8 }
  const prefill = { kind: 'prefill', batch: 1, tokens: 9, chosen: [[7]] }
  const [first, second] = [
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ]
  const ours = {
    library: 'tinymoe',
    versions: { tensorflow: '2' },
    threads: 1,
    rows: [
      { ...decode, implementation: 'recorded', samplesMs: [2], chosen: [first, second] },
      { ...prefill, implementation: 'recorded', samplesMs: [3] },
    ],
  }
  const theirs = {
    library: 'transformers',
    versions: { torch: '2.13.0' },
    threads: 1,
    rows: [
      { ...decode, implementation: 'eager', samplesMs: [4, 6], chosen: [first, [5, 6, 7, 0]] },
      { ...decode, batch: 2, implementation: 'eager', samplesMs: [5], chosen: [[1, 2]] },
    ],
  }
  const { paths, calls } = programs({ ours: saying(ours), theirs: saying(theirs) })
  const sides = paths.map((path) => [path, 'script'])
  const { versions, rows } = await takeTurns(sides, [['--decode', '2']], 2)
  expect(calls()).toEqual(['ours', 'theirs', 'ours', 'theirs'].map((name) => `${name} script --decode 2`))
  expect(versions).toEqual({ tinymoe: { tensorflow: '2' }, transformers: { torch: '2.13.0' } })
  expect(rows).toMatchObject([
    { kind: 'prefill', library: 'tinymoe', samplesMs: [3, 3], sameTokens: 1 },
    { kind: 'decode', batch: 2, library: 'transformers', sameTokens: null },
    { kind: 'decode', batch: 4, library: 'tinymoe', samplesMs: [2, 2], sameTokens: 1 },
    // The last of four sequences has another token in the second call.
    {
      kind: 'decode',
      batch: 4,
      library: 'transformers',
      samplesMs: [4, 6, 4, 6],
      medianMs: 5,
      sameTokens: 0.75,
    },
  ])
  expect(turnsTable(rows)).toMatch(
    /^decode, batch 4 +transformers eager +5\.0 +4\.0 +6\.0 +4 +1600\.0 +75 %$/m,
  )
})

test('a side that fails ends it with its words', async () => {
  await expect(takeTurns([['/nowhere/python']], [[]], 1)).rejects.toThrow(
    /^\/nowhere\/python cannot be started \(.*ENOENT\)$/,
  )
  await expect(failure(saying({ problem: 'this Python has no usable torch' }))).rejects.toThrow(
    /^this Python has no usable torch$/,
  )
  await expect(failure('echo first >&2; echo "error: no such directory" >&2; exit 1')).rejects.toThrow(
    /side ended with code 1 \(no such directory\)$/,
  )
  await expect(failure(saying({ rows: [] }))).rejects.toThrow(/side ended with code 0 \(\{"rows":\[\]\}\)$/)
  await expect(failure('exit 3')).rejects.toThrow(/side ended with code 3 \(it said nothing\)$/)
})

test('whole-model.ts chooses the same tokens with both executors, in the form that sides are read in', async () => {
  const flags = ['--prefill', '9', '--decode', '3', '--prompt', '6', '--batch', '2', '--samples', '2']
  const side = async (executor: string) => {
    const script = ['--import', 'tsx', 'bench/peers/whole-model.ts', '--model', MIXTRAL, '--threads', '1']
    const child = spawn(process.execPath, [...script, ...flags, '--executor', executor], { cwd: REPOSITORY })
    const { code, stdout } = await outcomeOf(child)
    expect(code).toBe(0)
    const said = JSON.parse(stdout)
    const { library, rows } = ModelOutput.parse(said)
    expect(library).toBe('tinymoe')
    const samples = { samplesMs: [expect.any(Number), expect.any(Number)] }
    expect(rows).toEqual([
      { kind: 'prefill', implementation: executor, batch: 1, tokens: 9, ...samples },
      { kind: 'decode', implementation: executor, batch: 2, tokens: 6, ...samples },
    ])
    return said.rows.map(({ chosen }: ChosenRow) => chosen)
  }
  const [recorded, eager] = await Promise.all([side('recorded'), side('eager')])
  expect(recorded).toEqual(eager)
  const sizes = recorded.map((calls: number[][]) => calls.map((call) => call.length))
  expect(sizes).toEqual([[1], [2, 2, 2]])
})
