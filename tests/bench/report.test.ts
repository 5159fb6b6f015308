import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { gitCommit } from '../../bench/conditions.ts'
import { conclude as concludeOn } from '../../bench/report/conclusion.ts'
import { markdown } from '../../bench/report/markdown.ts'
import { remarks } from '../../bench/report/remarks.ts'
import { cellsOf } from '../../bench/report/section.ts'
import { allowedSpeedup, oursFor, subjectOf } from '../../bench/report/select.ts'
import { everyRow, sections } from '../../bench/report/tables.ts'
import { widthSection } from '../../bench/report/widths.ts'
import type { BenchReport, Row } from '../../bench/schema.ts'
import { packageRoot } from '../../src/package.ts'
import { fullReport } from './full-report.ts'
import { report, row } from './rows.ts'

const sparse = (tokens: number, speedup: number) =>
  row({ tokens, speedup, speedupLow: null, speedupHigh: null })
const conclude = (rows: Row[]) => concludeOn(rows, subjectOf(report([])))

describe('the conclusion is one sentence', () => {
  test('when sparse wins at every size', () => {
    expect(conclude([sparse(1, 3.3), sparse(256, 3.9), sparse(1024, 5.26)])).toBe(
      'On one layer sparse dispatch is 5.3 times as fast as dense at T=1024 (ideal 8), 3.9 times at T=256 and 3.3 times at T=1.',
    )
  })

  test('when it loses at one size', () => {
    expect(conclude([sparse(1, 0.8), sparse(16, 1.02), sparse(1024, 6)])).toBe(
      'On one layer sparse dispatch is 6.0 times as fast as dense at T=1024 (ideal 8), not clearly faster at T=16 and slower at T=1 (0.80).',
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
      row({ kind: 'prefill', group: 'p', tokens: 128, speedup: 0.9, idealSpeedup: 2.2 }),
      row({ kind: 'prefill', group: 'another', tokens: 512, speedup: 7 }),
      row({ kind: 'decode', group: 'd', tokens: 1, speedup: 1.1, idealSpeedup: 2.7 }),
      row({ kind: 'decode', group: 'd', tokens: 1, dispatch: 'gather', speedup: 1.95, idealSpeedup: 2.7 }),
    ]
    expect(conclude(rows)).toBe(
      'The whole model against dense is 0.90 times as fast (sparse, ideal 2.2) at reading a prompt of 128 tokens and 1.9 times as fast (gather, ideal 2.7) at writing token by token.',
    )
  })

  test('with a model whose interval cannot tell which side it is on', () => {
    const prefill = { kind: 'prefill' as const, group: 'p', tokens: 128, idealSpeedup: 3.1 }
    expect(conclude([row({ ...prefill, speedup: 1.6, speedupLow: 0.4, speedupHigh: 2.4 })])).toBe(
      'The whole model against dense is not clearly faster (sparse 1.6 times, ideal 3.1) at reading a prompt of 128 tokens.',
    )
  })

  test('one whose interval cannot tell which side it is on counts as even', () => {
    const undecided = row({ tokens: 16, speedup: 1.2, speedupLow: 0.9, speedupHigh: 1.5 })
    expect(conclude([undecided, sparse(1024, 6)])).toContain('and not clearly faster at T=16')
  })

  test('about the layer asked for and the usual executor, not about the sweeps around it', () => {
    const others = [
      row({ tokens: 256, routing: 'uniform', speedup: 99 }),
      row({ tokens: 256, executor: 'recorded', speedup: 98 }),
      row({ tokens: 256, dims: { D: 8, H: 8, E: 16, K: 2 }, speedup: 97 }),
    ]
    expect(conclude([...others, sparse(256, 3)])).toBe(
      'On one layer sparse dispatch is 3.0 times as fast as dense at T=256 (ideal 8).',
    )
  })

  test('when nothing can be compared', () => {
    const rows = [row({ speedup: null }), row({ dispatch: 'dense', speedup: 1 })]
    expect(conclude(rows)).toBe('Nothing was compared, so there is nothing to conclude.')
  })
})

describe('what the machine allows', () => {
  // At 100 GFLOP/s and 10 GB/s: dense 8 ms of FLOPs and 10 ms of memory; sparse 1 ms of FLOPs and 9 ms of memory.
  const dense = row({ dispatch: 'dense', flops: 8e8, weightBytes: 1e8, speedup: 1, idealSpeedup: 1 })
  const few = row({ flops: 1e8, weightBytes: 9e7, speedup: 1.2, speedupLow: 1.1, speedupHigh: 1.3 })
  const { machine } = report([]).conditions

  test('by hand: memory bounds few tokens, arithmetic many, a run from cache neither', () => {
    expect(allowedSpeedup(few, dense, machine)).toBeCloseTo(10 / 9, 12)
    const many = (one: Row) => ({ ...one, flops: 100 * one.flops })
    expect(allowedSpeedup(many(few), many(dense), machine)).toBeCloseTo(8, 12)
    expect(allowedSpeedup({ ...few, fromCache: true }, dense, machine)).toBeNull()
  })

  test('is in the conclusion where it is far from the ideal', () => {
    expect(conclude([dense, few])).toBe(
      'On one layer sparse dispatch is 1.2 times as fast as dense at T=16 (ideal 8); the machine allows only 1.1 times at T=16, as 8 of 16 experts have to be read.',
    )
  })

  test('conclusions are not about runs from cache', () => {
    expect(conclude([dense, { ...few, fromCache: true }])).toBe(
      'Nothing was compared, so there is nothing to conclude.',
    )
  })
})

describe('tables', () => {
  const dense = row({
    dispatch: 'dense',
    speedup: 1,
    speedupLow: null,
    speedupHigh: null,
    idealSpeedup: 1,
    medianMs: 4,
  })
  const T = { kind: 'layer' as const, axis: 'T' as const, groups: [dense.group] }

  test('have a line a case and executor, variants side by side, and no column that nothing fills', () => {
    const rows = [dense, row({}), row({ dispatch: 'twin-active', medianMs: 1.25, spread: null })]
    const other = rows.map((r): Row => ({ ...r, executor: 'recorded', medianMs: 1 }))
    const [section] = sections(report([...rows, ...other], { sweeps: [T] }))
    expect(section.title).toBe('One layer over tokens T')
    expect(section.sentence).toBe('D=512 H=1024 E=16 K=2, 25.17M parameters, 3.15M active a token.')
    expect(cellsOf(section)).toEqual([
      [
        'T',
        'executor',
        'dense ms',
        'sparse ms',
        'speed-up',
        '95 %',
        'ideal',
        'allowed',
        'as active ms',
        'of matmul',
        'of memory',
      ],
      ['16', 'eager', '4.00', '2.00', '2.00x', '1.80..2.20', '8.00x', '1.00x', '1.25', '0.5 %', '20 %'],
      ['16', 'recorded', '1.00', '1.00', '2.00x', '1.80..2.20', '8.00x', '1.00x', '1.00', '0.5 %', '20 %'],
    ])
  })

  test('have no line for what was not measured, and are not there when nothing was', () => {
    const missing = { n: 0, medianMs: null, skipped: 'too long' }
    const other = row({ group: 'E4', executor: 'recorded', ...missing })
    expect(
      sections(report([dense, row({}), other], { sweeps: [{ ...T, groups: [dense.group, 'E4'] }] }))[0].rows,
    ).toHaveLength(1)
    expect(sections(report([other], { sweeps: [{ ...T, groups: ['E4'] }] }))).toEqual([])
  })

  test('of the model are sorted by batch and keys, of a sweep in its order', () => {
    const cases = [
      [8, 128],
      [1, 512],
      [1, 32],
    ].map(([batch, context]) => row({ kind: 'prefill', group: `${batch}/${context}`, batch, context }))
    const experts = [16, 4].map((E) => row({ group: `E${E}`, dims: { D: 512, H: 1024, E, K: 2 } }))
    const sweep = { kind: 'layer' as const, axis: 'E' as const, groups: ['E4', 'E16'] }
    const [model, layer] = sections(report([...cases, ...experts], { sweeps: [sweep] }))
    expect(model.title).toBe('Model tiny: prefill')
    expect(model.sentence).toMatch(
      /^Whole prompts, .* \d.* parameters, .*\(without embeddings .*; random token ids\.$/,
    )
    expect(cellsOf(model).map(([name]) => name)).toEqual(['batch x keys', '1 x 32', '1 x 512', '8 x 128'])
    expect([layer.title, layer.sentence]).toEqual(['One layer over experts E', 'D=512 H=1024 K=2 T=16.'])
    expect(cellsOf(layer).map(([name]) => name)).toEqual(['E', '4', '16'])
  })

  test('of a sweep are there only when something of its own was measured', () => {
    const own = row({
      group: 'E4',
      dims: { D: 512, H: 1024, E: 4, K: 2 },
      medianMs: null,
      skipped: 'too long',
    })
    const E = { kind: 'layer' as const, axis: 'E' as const, groups: ['E4', dense.group] }
    const titles = (rows: Row[]) => sections(report(rows, { sweeps: [T, E] })).map(({ title }) => title)
    expect(titles([dense, own])).toEqual(['One layer over tokens T'])
    expect(titles([dense, { ...own, medianMs: 1 }])).toContain('One layer over experts E')
  })

  test('gather has its speed-up beside that of sparse', () => {
    const gather = row({ dispatch: 'gather', speedup: 3 })
    const [{ columns, rows }] = sections(report([dense, row({}), gather], { sweeps: [T] }))
    expect(rows[0][columns.indexOf('by gather')]).toBe('3.00x')
  })

  describe('of widths', () => {
    const full = fullReport()
    const own = full.rows.filter(({ kind }) => kind === 'width')
    const widths = (rows: Row[], values: Partial<BenchReport> = {}) =>
      widthSection({ ...full, rows, ...values })

    test('say bytes, speed and loss beside those of the widest, and what a cache does to the share of memory', () => {
      const { sentence, details, rows } = widths(own)
      const model = { ...full.model, parameters: { ...full.model.parameters, total: 3.6e6 } }
      expect(cellsOf(widths(own, { model }))).toEqual([
        ['held in', 'bits', 'dense MB', 'tokens/s', 'of memory', 'sparse MB', 'tokens/s', 'of memory', 'by width', 'loss', 'more'],
        ['float32', '32.00', '14.00', '625.0', '88 %', '4.40', '1563', '69 %', '1.00x', '0.4825', '0.0000'],
        ['4 bits in groups of 32', '5.12', '2.24', '2358', '53 %', '0.70', '3698', '26 %', '2.37x', '0.4842', '0.0017'],
      ]) // biome-ignore format: as it is printed
      expect(rows).toHaveLength(2)
      expect(sentence).toBe(
        'A token of tiny in each width, in turn: MB that it reads; by width: sparse against float32.',
      )
      expect(details).toContain(
        'What fits into the largest cache (33.6 MB) is read from there, and its share may be above 100 %: here all.',
      )
      expect(details).toContain('It is decoded behind 136 others.')
      expect(details).toContain('The loss is that of 11,862 held-out tokens, nats a token, mean over domains')
      expect(markdown({ ...full, rows: own })).toContain(`\n\n${sentence} ${details}\n\n| held in |`)
    })

    test('name what fits into a cache, or what alone does not; nothing where neither is known', () => {
      const inCache = (cacheBytes: number | null) =>
        /\(\S+ MB\) .*: here (.*?)\. The loss/.exec(
          widths(own, { conditions: { ...full.conditions, cacheBytes } }).details!,
        )?.[1]
      expect(inCache(5e6)).toBe('all but float32 (dense)')
      expect(inCache(1e6)).toBe('4 bits in groups of 32 (sparse)')
      expect([inCache(1), inCache(null)]).toEqual([undefined, undefined])
    })

    test('are dashes where the loss, or one of the widest, is not known; rows that were left out are not there', () => {
      const unknown = own.map((one) => ({ ...one, loss: null, lossTokens: null }))
      const { details, rows } = widths(unknown.map((one, i) => (i === 1 ? { ...one, medianMs: null } : one)))
      expect(rows.map((cells) => cells.slice(5))).toEqual([
        ['-', '-', '-', '-', '-', '-'],
        ['0.70', '3698', '26 %', '-', '-', '-'],
      ])
      expect(details).toContain('The loss is unknown of a model without a tokenizer')
      expect(sections(report([row({ held: 'float32', medianMs: null, skipped: 'x' })]))).toEqual([])
    })

    test('are in the conclusion, the narrowest against the widest', () => {
      expect(conclude(own)).toBe(
        'The model held in 4 bits in groups of 32 writes a token 2.4 times as fast as in float32 (sparse, 0.0017 nats more).',
      )
      const even = own.map((one) => ({ ...one, medianMs: 1, loss: null }))
      expect(conclude(even)).toBe(
        'The model held in 4 bits in groups of 32 writes a token as fast as in float32 (sparse).',
      )
      expect(conclude(own.slice(0, 2))).toContain('nothing to conclude')
    })
  })

  test('show parts of a dispatch and limited capacity', () => {
    const dims = { D: 8, H: 8, E: 4, K: 2 }
    const parts = { routerMs: 1, groupMs: 2, matmulMs: 3, combineMs: 4, sumMs: 10, totalMs: 9, n: 5 }
    const times = { medianMs: 2, p10Ms: 1, p90Ms: 3, n: 5 }
    const all = sections(
      report([], {
        breakdown: [{ id: 'b', group: 'g', tokens: 16, dims, ...parts }],
        capacity: [
          {
            id: 'c',
            tokens: 16,
            dims,
            routing: 'worst',
            factor: null,
            droppedShare: 0.25,
            flopsCounted: 1e6,
            ...times,
          },
        ],
      }),
    )
    expect(all.map(({ rows }) => rows[0])).toEqual([
      ['16', '1.00', '2.00', '3.00', '4.00', '10.00', '9.00', '5'],
      ['none', 'worst', '16', '25 %', '1.00', '2.00', '1.00', '3.00', '5'],
    ])
  })

  test('what is not known is a dash, not a zero', () => {
    const unknown = {
      n: 0, medianMs: null, p10Ms: null, p90Ms: null, p99Ms: null, gflopsPerSecond: null, tokensPerSecond: null,
      speedup: null, speedupLow: null, speedupHigh: null, flopsCounted: null,
    } // biome-ignore format: a list of names
    const [header, line] = cellsOf(everyRow(report([row({ ...unknown, skipped: 'too long' })])))
    expect(line).toHaveLength(header.length)
    expect(line.filter((cell) => cell === '-')).toHaveLength(9)
  })

  test('peers stand beside our fastest time for the same work', () => {
    const facts = {
      kind: 'layer' as const,
      tokens: 16,
      batch: 1,
      context: null,
      n: 5,
      p10Ms: 0.9,
      p90Ms: 1.2,
    }
    const peer = {
      ...facts,
      implementation: 'grouped_mm',
      medianMs: 1,
      tokensPerSecond: 16_000,
      samplesMs: [1],
    }
    const found = {
      library: 'transformers',
      what: 'a block',
      versions: { torch: '2.13.0' },
      threads: 2,
      rows: [peer],
    }
    const peers: BenchReport['peers'] = [{ peer: 'transformers-layer', report: found, problem: null }]
    const rows = [
      dense,
      row({}),
      row({ dispatch: 'twin-active', medianMs: 0.1 }),
      row({ routing: 'worst', medianMs: 0.2 }),
    ]
    const full = report(rows, { peers })
    expect(sections(full).at(-1)?.rows[0]).toEqual([
      'transformers grouped_mm', 'layer', '16', '1.00', '0.90', '1.20', '5', '16000', '2.00',
    ]) // biome-ignore format: as it is printed
    expect(oursFor(full, { ...peer, tokens: 4 })).toBeNull()
    expect(markdown(full)).toContain('peer transformers: a block; torch 2.13.0, 2 threads')
  })
})

describe('remarks', () => {
  const nothingMissing = {
    breakdown: [{} as BenchReport['breakdown'][number]],
    capacity: [{} as BenchReport['capacity'][number]],
    loading: { medianMs: 1, samplesMs: [1], weightBytes: 4, peakBytes: null, baseBytes: null },
  }

  test('name what was left out, cut short, miscounted, missing or not to be had', () => {
    const rows = [
      ...[9.5, 50, 12].map((s) => row({ id: `a${s}`, skipped: `about ${s} s a run, too long for 25 s` })),
      row({ kind: 'prefill', skipped: 'the time was spent' }),
      ...['f', 'g', 'h', 'i', 'j', 'k'].map((id) => row({ id, flopsCounted: 2e6 })),
    ]
    const peers: BenchReport['peers'] = [
      { peer: 'llama.cpp', report: null, problem: 'llama.cpp was not measured: no.' },
    ]
    const assertion = { factor: 2, passed: false, sentence: 'It is not.' }
    expect(remarks(report(rows, { interrupted: true, peers, assertion }))).toEqual([
      'Interrupted: only what was done until then is here.',
      'Counted FLOPs differ from the formula: f, g, h, i and 2 more.',
      'Rows left out: 1 of 1 of prefill, 3 of 9 of layer. Why: about 9.5 s a run, too long for 25 s (3); the time was spent (1).',
      'llama.cpp was not measured: no.',
      'It is not.',
    ])
    expect(remarks(report([row({})], nothingMissing))).toEqual([])
    expect(remarks(report([], { ...nothingMissing, loading: null, tracing: null }))).toEqual([
      'Not measured, for want of time or because it failed: tracing, loading.',
    ])
  })

  test('name a busy machine, and a speed-up that no dispatch can give', () => {
    const { conditions } = report([])
    const rows = [
      row({ id: 'x', speedup: 9.5 }),
      row({ speedup: 8.5 }),
      row({ dispatch: 'twin-active', speedup: 9.5 }),
    ]
    const busy = { ...conditions, loadAverage: 1.5 }
    expect(remarks(report(rows, { ...nothingMissing, conditions: busy }))).toEqual([
      'The machine was busy before the start (load average 1.5 on 2 threads): repeat on an idle one before believing these times.',
      'Faster than fewer FLOPs explain (disturbed, or in a report of version 2 from a cache): x.',
    ])
    const idle = { ...conditions, loadAverage: 0.9 }
    expect(remarks(report([], { ...nothingMissing, conditions: idle }))).toEqual([])
  })

  test('say that TensorFlow was not used, and why', () => {
    const { conditions } = report([])
    const reason = 'TensorFlow is not set up'
    const candidates = [{ device: 'cpu' as const, taken: false, reason }]
    const runtime = { ...conditions.runtime, device: 'wasm' as const, candidates }
    expect(remarks(report([], { ...nothingMissing, conditions: { ...conditions, runtime } }))).toEqual([
      'Run by wasm, not by native TensorFlow on the processor: TensorFlow is not set up.',
    ])
  })
})

test('the Markdown page lists every row that was left out, with its own reason', () => {
  const rows = ['a', 'b'].map((id, i) => row({ id, skipped: `about ${i} s | a run` }))
  expect(markdown(report(rows))).toContain(
    '## Rows left out\n\n| row | why |\n| --- | --- |\n| a | about 0 s \\| a run |\n| b | about 1 s \\| a run |\n',
  )
  expect(markdown(report([row({})]))).not.toContain('Rows left out')
})

test('outside a checkout of its own the commit is unknown', async () => {
  expect(await gitCommit(tmpdir())).toBeNull()
  expect(await gitCommit(join(packageRoot(), 'bench'))).toBeNull()
})
