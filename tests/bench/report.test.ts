import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { conclude } from '../../bench/conclusion.ts'
import { gitCommit } from '../../bench/conditions.ts'
import { markdown } from '../../bench/markdown.ts'
import {
  defaultResultsFolder,
  packageRoot,
  prepareFolder,
  reportName,
  storeReport,
} from '../../bench/store.ts'
import { remarks, sections } from '../../bench/table.ts'
import { report, row } from './rows.ts'

const sparse = (tokens: number, speedup: number) => row({ tokens, speedup })

describe('the conclusion is one sentence', () => {
  test('when sparse wins at every size', () => {
    expect(conclude([sparse(1, 3.3), sparse(256, 3.9), sparse(1024, 5.26)])).toBe(
      'On one layer sparse dispatch is 5.3 times as fast as dense at T=1024 (ideal 8), 3.9 times at T=256 and 3.3 times at T=1.',
    )
  })

  test('when it loses at one size, where gather does better', () => {
    const gather = row({ dispatch: 'gather', tokens: 1, speedup: 2.5 })
    expect(conclude([sparse(1, 0.8), gather, sparse(16, 1.02), sparse(1024, 6)])).toBe(
      'On one layer sparse dispatch is 6.0 times as fast as dense at T=1024 (ideal 8), no faster at T=16 and slower at T=1 (0.80, where gather is 2.5 times as fast as dense).',
    )
  })

  test('when it loses everywhere', () => {
    expect(conclude([sparse(1, 0.5), sparse(16, 0.91)])).toBe(
      'On one layer sparse dispatch lost to dense at every size measured (at best 0.91 times as fast, at T=16): the 8 times fewer FLOPs of its experts did not arrive as time here.',
    )
  })

  test('when it is even at best', () => {
    expect(conclude([sparse(1, 0.5), sparse(16, 1.03)])).toContain(
      'did not beat dense at every size measured',
    )
  })

  test('with a model: the faster of sparse and gather, whichever way it went', () => {
    const rows = [
      row({ kind: 'prefill', tokens: 128, speedup: 0.9, idealSpeedup: 2.2 }),
      row({ kind: 'decode', tokens: 1, speedup: 1.1, idealSpeedup: 2.7 }),
      row({ kind: 'decode', tokens: 1, dispatch: 'gather', speedup: 1.95, idealSpeedup: 2.7 }),
    ]
    expect(conclude(rows)).toBe(
      'The whole model against dense is 0.90 times as fast (sparse, ideal 2.2) at reading a prompt of 128 tokens and 1.9 times as fast (gather, ideal 2.7) at writing token by token.',
    )
  })

  test('when nothing can be compared', () => {
    const rows = [row({ speedup: null }), row({ dispatch: 'dense', speedup: 1 })]
    expect(conclude(rows)).toBe('Nothing was compared, so there is nothing to conclude.')
  })
})

describe('tables', () => {
  const dense = row({ dispatch: 'dense', speedup: 1, idealSpeedup: 1, medianMs: 4 })

  test('one a kind of case, each row as long as the header', () => {
    const all = sections(
      report([row({ kind: 'prefill' }), row({ kind: 'decode', context: 120 }), dense, row({})]),
    )
    expect(all.map(({ title }) => title)).toEqual([
      expect.stringContaining('Model tiny'),
      'Decode, recorded: one token a call, 120 keys in sight',
      'One layer, op by op: D=512 H=1024 E=16 K=2, 25.17M parameters, 3.15M active a token',
    ])
    for (const { cells } of all) expect(new Set(cells.map((line) => line.length)).size).toBe(1)
    expect(all[2].cells[2]).toEqual([
      'sparse',
      '16',
      '1.00',
      '1.00',
      '2.00',
      '1.50',
      '2.50',
      '3',
      '0.50',
      '2.00x',
      '8.00x',
      '4.00',
      '1..9 (4)',
    ])
  })

  test('what is not known is a dash, not a zero', () => {
    const unknown = {
      n: 0,
      medianMs: null,
      p10Ms: null,
      p90Ms: null,
      gflopsPerSecond: null,
      speedup: null,
      flopsCounted: null,
    }
    const [{ cells }] = sections(report([row({ ...unknown, skipped: 'too long' })]))
    expect(cells[1].filter((cell) => cell === '-')).toHaveLength(6)
  })

  test('peers stand beside the layer, measured against its dense', () => {
    const peer = { implementation: 'grouped_mm', tokens: 16, n: 5, medianMs: 1, p10Ms: 0.9, p90Ms: 1.2 }
    const peers = {
      report: { library: 'transformers', versions: { torch: '2.13.0' }, threads: 2, rows: [peer] },
      problem: null,
    }
    const [{ cells }] = sections(report([dense, row({})], { peers }))
    expect(cells.at(-1)?.slice(0, 2)).toEqual(['transformers grouped_mm', '16'])
    expect(cells.at(-1)).toContain('4.00x')
    expect(markdown(report([dense], { peers }))).toContain('peers: torch 2.13.0, 2 threads')
  })

  test('remarks name what was left out, cut short, miscounted or not to be had', () => {
    const rows = [row({ skipped: 'about 50 s a run' }), row({ flopsCounted: 2e6 })]
    const peers = { report: null, problem: 'The peers were not measured: no Python.' }
    expect(remarks(report(rows, { interrupted: true, peers }))).toEqual([
      'Interrupted: only what was done until then is here.',
      'layer T=16 sparse left out: about 50 s a run.',
      'Counted FLOPs differ from the formula: layer T=16 sparse.',
      'The peers were not measured: no Python.',
    ])
    expect(remarks(report([row({})]))).toEqual([])
  })

  test('a busy machine, and a speed-up that no dispatch can give, are remarked on', () => {
    const { conditions } = report([])
    const busy = report([row({ speedup: 9.5 }), row({ tokens: 1, speedup: 8.5 })], {
      conditions: { ...conditions, loadAverage: 1.5 },
    })
    expect(remarks(busy)).toEqual([
      'Faster than the ideal, so disturbed by something else: layer T=16 sparse.',
      'The machine was busy before the start (load average 1.5 on 2 threads): repeat on an idle one before believing these times.',
    ])
    expect(remarks(report([], { conditions: { ...conditions, loadAverage: 0.9 } }))).toEqual([])
  })
})

describe('storing', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bench-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test('writes JSON that reads back the same, and Markdown with the conclusion and the conditions', () => {
    const written = report([row({})])
    const [json, md] = storeReport(written, join(folder, 'new', 'results'))
    expect(JSON.parse(readFileSync(json, 'utf8'))).toEqual(written)
    const text = readFileSync(md, 'utf8')
    expect(text).toContain('It is so.')
    expect(text).toContain('commit unknown')
    expect(text).toContain('TensorFlow 2.21.0, tfjs 4.22.0, Node 20.0.0')
    expect(readdirSync(join(folder, 'new', 'results'))).toEqual(['cpu.json', 'cpu.md'])
  })

  test('a quick report does not replace the careful one', () => {
    const careful = report([])
    const quick = report([], { conditions: { ...careful.conditions, quick: true } })
    expect([reportName(careful), reportName(quick)]).toEqual(['cpu', 'cpu-quick'])
  })

  test('a folder that cannot be made is one sentence', () => {
    const file = join(folder, 'a-file')
    writeFileSync(file, '')
    const sentence = /cannot be written there .* --out names another folder/
    expect(() => storeReport(report([]), join(file, 'x'))).toThrow(sentence)
    expect(() => prepareFolder(join(file, 'x'))).toThrow(sentence)
  })

  test('goes to the checkout, or to the current folder where there is no bench/results', () => {
    expect(defaultResultsFolder()).toBe(join(packageRoot(), 'bench', 'results'))
    expect(defaultResultsFolder(folder)).toBe(resolve('tinymoe-results'))
  })
})

test('outside a checkout of its own the commit is unknown', async () => {
  expect(await gitCommit(tmpdir())).toBeNull()
  expect(await gitCommit(join(packageRoot(), 'bench'))).toBeNull()
})
