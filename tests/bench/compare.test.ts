import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { changes, verdictOf } from '../../bench/change.ts'
import { compareReports, differencesOf } from '../../bench/compare.ts'
import { readReport } from '../../bench/read-report.ts'
import type { BenchReport, Row } from '../../bench/schema.ts'
import { register as registerBench } from '../../src/cli/bench.ts'
import { comparisonText } from '../../src/cli/bench-compare.ts'
import { Xoshiro128 } from '../../src/generate/random.ts'
import { report, row } from './rows.ts'

/** Positive times around `scale`, `spread` being the standard deviation of their logarithm. */
function times(n: number, scale: number, spread: number, seed: number): number[] {
  const random = Xoshiro128.fromSeed(seed)
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform())
  return Array.from({ length: n }, () => scale * Math.exp(spread * normal()))
}

describe('the change between two lists of times', () => {
  test('the same samples: ratio exactly 1, within noise', () => {
    const a = times(40, 3, 0.1, 1)
    const [change] = changes([{ a, b: a }], 1)
    expect(change?.ratio).toBe(1)
    expect(verdictOf(change)).toBe('within noise')
  })

  test('every sample 20 % longer: that ratio exactly, in its interval, and slower; the other way round faster', () => {
    const a = times(60, 3, 0.05, 2)
    const b = a.map((ms) => 1.2 * ms)
    const [slower, faster] = changes(
      [
        { a, b },
        { a: b, b: a },
      ],
      1,
    )
    expect(slower?.ratio).toBeCloseTo(1.2, 12)
    expect(slower!.low).toBeGreaterThan(1)
    expect(slower!.low).toBeLessThan(1.2)
    expect(slower!.high).toBeGreaterThan(1.2)
    expect([verdictOf(slower), verdictOf(faster)]).toEqual(['slower', 'faster'])
    expect(faster?.ratio).toBeCloseTo(1 / 1.2, 12)
  })

  test('a true change of 5 % drowns in a spread of 40 %', () => {
    const [change] = changes([{ a: times(12, 3, 0.4, 3), b: times(12, 3.15, 0.4, 4) }], 1)
    expect(verdictOf(change)).toBe('within noise')
  })

  test('2 % for sure is still too little to be called a change', () => {
    const a = times(200, 3, 0.001, 5)
    const [change] = changes([{ a, b: a.map((ms) => 1.02 * ms) }], 1)
    expect(change!.low).toBeGreaterThan(1)
    expect(verdictOf(change)).toBe('within noise')
  })

  test('of sixty unchanged rows none is called changed, and the one that changed is found among them', () => {
    const unchanged = Array.from({ length: 60 }, (_, i) => ({
      a: times(50, 1, 0.1, 100 + i),
      b: times(50, 1, 0.1, 200 + i),
    }))
    const changed = { a: times(50, 1, 0.1, 300), b: times(50, 1.3, 0.1, 301) }
    const verdicts = changes([...unchanged, changed], 1).map(verdictOf)
    expect(new Set(verdicts.slice(0, -1))).toEqual(new Set(['within noise']))
    expect(verdicts.at(-1)).toBe('slower')
  })

  test('intervals are wider for many rows than for one, and the same for the same seed', () => {
    const pair = (i: number) => ({ a: times(30, 1, 0.1, i), b: times(30, 1, 0.1, 500 + i) })
    const width = (change: { low: number; high: number } | null) => Math.log(change!.high / change!.low)
    const [alone] = changes([pair(0)], 1)
    const many = changes(
      Array.from({ length: 40 }, (_, i) => pair(i)),
      1,
    )
    expect(width(many[0])).toBeGreaterThan(width(alone))
    expect(changes([pair(0)], 1)).toEqual([alone])
  })

  test('fewer than five samples say nothing', () => {
    const [change] = changes([{ a: [1, 1, 1, 1], b: [2, 2, 2, 2, 2] }], 1)
    expect([change, verdictOf(change)]).toEqual([null, 'not known'])
  })
})

/** A row with samples, named by its tokens. */
function timedRow(id: string, samplesMs: number[], values: Partial<Row> = {}): Row {
  return row({ id, samplesMs, n: samplesMs.length, ...values })
}

function compared(a: BenchReport, b: BenchReport) {
  return compareReports({ file: 'a.json', report: a }, { file: 'b.json', report: b })
}

describe('two reports', () => {
  const same = times(40, 2, 0.05, 7)
  const a = report([timedRow('one', same), timedRow('two', same), timedRow('gone', same)])
  const b = report([
    timedRow('two', same),
    timedRow(
      'one',
      same.map((ms) => 2 * ms),
    ),
    timedRow('new', same),
  ])

  test('rows are matched by id; what is in one alone is listed', () => {
    const found = compared(a, b)
    expect(found.rows.map(({ id, verdict }) => [id, verdict])).toEqual([
      ['one', 'slower'],
      ['two', 'within noise'],
    ])
    expect([found.onlyA, found.onlyB]).toEqual([['gone'], ['new']])
    expect(found.conclusion).toBe(
      'Of 2 rows compared, B is slower in 1 and faster in 0; 1 are within noise. The median row takes 1.500 times as long.',
    )
    expect(found.warnings).toEqual([])
  })

  test('the text has the changed row and the conclusion last; FLOPs that changed have a loud line', () => {
    const work = report([timedRow('one', same, { flops: 3e6, flopsCounted: 1e6 }), timedRow('two', same)])
    const text = comparisonText(compared(a, work))
    expect(text).toContain('FLOPs CHANGED, by formula: one: 1000000 -> 3000000 (3.000 times)')
    expect(text).toContain('only in A (1):\n  gone\n')
    expect(text.endsWith('The work itself changed: FLOPs of 1 entries differ.\n')).toBe(true)
    expect(comparisonText(compared(a, b))).toMatch(/one +2\.000 +2\.000 +2\.000 .* slower/)
  })

  test('conditions that differ are listed, and those that matter make a warning', () => {
    const { conditions } = report([])
    const other = report([], {
      conditions: {
        ...conditions,
        commit: 'abc',
        runtime: { ...conditions.runtime, threads: 8, tensorflowVersion: '2.20.0' },
        machine: { ...conditions.machine, matmulGflops: 50 },
        loadAverage: 7,
      },
    })
    const { differences, warnings } = compared(report([]), other)
    expect(differences).toEqual([
      { what: 'threads', a: 2, b: 8, matters: true },
      { what: 'TensorFlow', a: '2.21.0', b: '2.20.0', matters: true },
      { what: 'commit', a: null, b: 'abc', matters: false },
      { what: 'load average before', a: null, b: 7, matters: false },
      { what: 'matrix product, GFLOP/s', a: 100, b: 50, matters: false },
    ])
    expect(warnings).toEqual([
      'The sessions are not alike (threads, TensorFlow): a change of time may come from that.',
      'The machine itself was not the same in B (its matrix product ran at 0.50 times the speed): compare speed-ups over dense rather than times.',
      'The machine was busy before B (load average 7 on 8 threads).',
    ])
    expect(differencesOf(other, other)).toEqual([])
  })

  test('nothing in common is said', () => {
    expect(compared(report([row({ id: 'x' })]), report([row({ id: 'y' })])).conclusion).toBe(
      'No row is in both reports, so nothing was compared.',
    )
    expect(compared(report([row({})]), report([row({})])).conclusion).toBe(
      'None of the 1 rows in both reports has enough samples on both sides, so nothing was compared.',
    )
  })
})

describe('reading', () => {
  const text = JSON.stringify(report([row({})]))
  const folder = mkdtempSync(join(tmpdir(), 'bench-read-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const read = (json: string) => {
    const file = join(folder, 'a.json')
    writeFileSync(file, json)
    return readReport(file)
  }

  test('gives the report back, and lets through what a later engine adds', () => {
    expect(read(text)).toEqual(report([row({})]))
    expect(read(text.replace('{', '{"later":1,'))).toEqual(report([row({})]))
  })

  test.each([
    ['{', /a\.json: not JSON \(.*\)$/],
    ['null', /a\.json: is no report of tinymoe bench: format is missing, expected "tinymoe-bench"$/],
    ['{"format":"x"}', /format is "x", expected "tinymoe-bench"$/],
    [
      '{"format":"tinymoe-bench","version":1}',
      /a report of version 1, .* expected version 3: run tinymoe bench/,
    ],
    ['{"format":"tinymoe-bench","version":4}', /a\.json: version: /],
    [text.replace('"medianMs":2', '"medianMs":"2"'), /a\.json: rows\[0\]\.medianMs: .*expected number/],
  ])('%s is one sentence', (json, sentence) => {
    expect(() => read(json)).toThrow(sentence)
  })

  test('a report of version 2, which had one set of weights, is read and compared, and that is said', () => {
    const stored = JSON.parse(text)
    for (const name of ['weightSets', 'fromCache']) delete stored.rows[0][name]
    delete stored.readings
    delete stored.conditions.cacheBytes
    const old = read(JSON.stringify({ ...stored, version: 2 }))
    expect(old).toMatchObject({ version: 2, readings: [], rows: [{ weightSets: 1, fromCache: false }] })
    const { rows, differences } = compared(old, report([row({ weightSets: 9 })]))
    expect(rows).toHaveLength(1)
    expect(differences).toEqual([
      { what: 'sets of weights that calls take turns on', a: 'one', b: 'several', matters: true },
    ])
  })

  test('a file that is not there is one sentence', () => {
    expect(() => readReport('/nowhere/a.json')).toThrow(/^\/nowhere\/a\.json: cannot be read \(ENOENT/)
  })
})

describe('tinymoe bench compare', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bench-compare-'))
    const samples = times(40, 2, 0.05, 7)
    writeFileSync(join(folder, 'a.json'), JSON.stringify(report([timedRow('one', samples)])))
    const slow = samples.map((ms) => 1.5 * ms)
    writeFileSync(join(folder, 'b.json'), JSON.stringify(report([timedRow('one', slow)])))
  })
  afterAll(() => rmSync(folder, { recursive: true }))
  afterEach(() => {
    vi.restoreAllMocks()
    process.exitCode = undefined
  })

  async function run(...flags: string[]): Promise<string> {
    let printed = ''
    vi.spyOn(process.stdout, 'write').mockImplementation(((text: string, done: () => void) => {
      printed += text
      done()
      return true
    }) as never)
    const program = new Command()
      .exitOverride()
      .option('--json')
      .configureOutput({ writeErr: () => {} })
    registerBench(program)
    await program.parseAsync(['bench', ...flags], { from: 'user' })
    return printed
  }
  const files = () => [join(folder, 'a.json'), join(folder, 'b.json')]

  test('prints what changed, or the comparison as JSON', async () => {
    expect(await run('compare', ...files())).toContain('Of 1 rows compared, B is slower in 1')
    const comparison = JSON.parse(await run('compare', ...files(), '--json'))
    expect(comparison).toMatchObject({ format: 'tinymoe-bench-comparison', rows: [{ verdict: 'slower' }] })
    expect(process.exitCode).toBeUndefined()
  })

  test('--fail-on-slower exits 3 for a slower row only', async () => {
    await run('compare', '--fail-on-slower', ...files().reverse())
    expect(process.exitCode).toBeUndefined()
    await run('compare', '--fail-on-slower', ...files())
    expect(process.exitCode).toBe(3)
  })

  test("the bench's own flags are refused", async () => {
    await expect(run('--quick', 'compare', ...files())).rejects.toThrow(
      '--quick: bench compare measures nothing, so it has no use for it',
    )
  })
})
