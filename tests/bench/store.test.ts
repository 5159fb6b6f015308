import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { readReport } from '../../bench/read-report.ts'
import { benchCsv } from '../../bench/report/csv.ts'
import { evaluationsIn } from '../../bench/report/evaluations.ts'
import { type BenchReport, benchSchema } from '../../bench/schema.ts'
import { defaultResultsFolder, reportName, storePart, storeReport } from '../../bench/store.ts'
import type { FlopParts, ParameterCount } from '../../src/cost/index.ts'
import type { MachineReadings, RuntimeReport } from '../../src/device/index.ts'
import { makeFolder } from '../../src/files.ts'
import { packageRoot } from '../../src/package.ts'
import { fullReport } from './full-report.ts'
import { report, row } from './rows.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const EVALUATION = {
  format: 'tinymoe-eval',
  version: 1,
  model: { name: 'moe', mixtures: [null, { numExperts: 8, topK: 2 }] },
  split: 'heldout',
  loss: { mean: 1.25 },
  cost: { parameters: { total: 12, active: 4 }, flopsPerToken: 9 },
}

describe('storing', () => {
  test('writes JSON that reads back the same, Markdown, CSV and a page, next to each other', async () => {
    const written = report([row({})])
    const { files } = await storeReport(written, join(folder, 'new', 'results'))
    const [json, md, csv, html] = files.map((file) => readFileSync(file, 'utf8'))
    expect(JSON.parse(json)).toEqual(written)
    expect(md).toContain('It is so.')
    expect(md).toContain('commit unknown')
    expect(csv).toBe(benchCsv(written))
    expect(html).toMatch(/^<!doctype html>[\s\S]*It is so\./)
    expect(readdirSync(join(folder, 'new', 'results'))).toEqual(['cpu.csv', 'cpu.html', 'cpu.json', 'cpu.md'])
  })

  test('the page shows evaluations of the same folder', async () => {
    const place = join(folder, 'with-evaluation')
    makeFolder(place)
    writeFileSync(join(place, 'eval-moe.json'), JSON.stringify(EVALUATION))
    const { files } = await storeReport(report([]), place)
    expect(readFileSync(files[3], 'utf8')).toContain('moe, loss 1.250')
  })

  test('a part is beside it until the whole is stored', async () => {
    const place = join(folder, 'parts')
    storePart(report([row({})], { interrupted: true }), place)
    expect(readReport(join(place, 'cpu.part.json')).interrupted).toBe(true)
    await storeReport(report([row({})]), place)
    expect(readdirSync(place)).toEqual(['cpu.csv', 'cpu.html', 'cpu.json', 'cpu.md'])
  })

  test('a quick report does not replace the careful one, nor one in half precision', () => {
    const careful = report([])
    const quick = report([], { conditions: { ...careful.conditions, preset: 'quick' } })
    const half = report([], { conditions: { ...careful.conditions, dtype: 'bfloat16' } })
    expect([careful, quick, half].map(reportName)).toEqual(['cpu', 'cpu-quick', 'cpu-bfloat16'])
  })

  test('a folder that cannot be made is one sentence, for after the report is shown', async () => {
    const file = join(folder, 'a-file')
    writeFileSync(file, '')
    const sentence = /cannot be written there .* --out names another folder/
    const { files, failure } = await storeReport(report([]), join(file, 'x'))
    expect(files).toEqual([])
    expect(failure?.message).toMatch(sentence)
  })

  test("goes to the checkout, or to the current folder: a package's bench/results is only for reading", () => {
    expect(defaultResultsFolder()).toBe(join(packageRoot(), 'bench', 'results'))
    expect(defaultResultsFolder(folder)).toBe(resolve('tinymoe-results'))
    makeFolder(join(folder, 'bench', 'results'))
    expect(defaultResultsFolder(folder)).toBe(resolve('tinymoe-results'))
  })
})

describe('evaluations', () => {
  test('are read by name, in order; what is none has a sentence', () => {
    const place = join(folder, 'evaluations')
    makeFolder(place)
    const dense = { ...EVALUATION, model: { name: 'dense', mixtures: [null, null] } }
    writeFileSync(join(place, 'eval-b.json'), JSON.stringify(EVALUATION))
    writeFileSync(join(place, 'eval-a.json'), JSON.stringify(dense))
    writeFileSync(join(place, 'eval-c.json'), JSON.stringify({ ...EVALUATION, loss: {} }))
    writeFileSync(join(place, 'eval-d.json'), '{')
    writeFileSync(join(place, 'eval-e.json'), JSON.stringify({ ...EVALUATION, version: 2 }))
    writeFileSync(join(place, 'other.json'), '{')
    const { found, problems } = evaluationsIn(place)
    expect(found).toEqual([
      { name: 'dense', mixture: false, split: 'heldout', loss: 1.25, flopsPerToken: 9, total: 12, active: 4 },
      { name: 'moe', mixture: true, split: 'heldout', loss: 1.25, flopsPerToken: 9, total: 12, active: 4 },
    ])
    expect(problems).toEqual([
      'eval-c.json is no evaluation (loss.mean)',
      expect.stringMatching(/^eval-d\.json: not JSON \(/),
      'eval-e.json is no evaluation of version 1, as `tinymoe eval --out` writes it',
    ])
  })
})

describe('CSV', () => {
  test('a line a row under the heading, unknown empty, commas and quotes quoted', () => {
    const skipped = 'too long, "really"'
    const text = benchCsv(
      report([row({}), row({ id: 'model', dims: null, spread: null, medianMs: null, skipped })]),
    )
    const lines = text.split('\r\n')
    expect(lines).toHaveLength(4)
    expect(lines[3]).toBe('')
    expect(lines[0].split(',').slice(0, 17).join()).toBe(
      'date,commit,device,device_name,threads,preset,id,group,kind,dispatch,executor,routing,d,h,e,k,tokens',
    )
    expect(lines[1]).toBe(
      '2026-01-02T03:04:05.000Z,,cpu,Some Processor,2,default,layer/D512-H1024-E16-K2/T16/real/sparse/eager,layer/D512-H1024-E16-K2/T16/real,layer,sparse,eager,real,512,1024,16,2,16,1,,1000000,1000000,4000000,1,4,9,3,2,1.5,2.5,2.5,0,8000,0.5,0.005,0.2,2,1.8,2.2,8,whole,0.01,2,true,,1,false,,,,,',
    )
    expect(lines[2]).toContain(',"too long, ""really""",1,false')
    expect(lines[2]).toContain(',real,,,,,16,')
  })
})

describe('schema', () => {
  const file = new URL('../../docs/bench.schema.json', import.meta.url)

  test('docs/bench.schema.json is the one that the reader checks', () => {
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(z.toJSONSchema(benchSchema, { io: 'input' }))
  })

  test('what the engine reports is in it field by field, with the same types', () => {
    expectTypeOf<BenchReport['conditions']['runtime']>().toEqualTypeOf<RuntimeReport>()
    expectTypeOf<BenchReport['conditions']['machine']>().toEqualTypeOf<MachineReadings>()
    expectTypeOf<BenchReport['model']['parameters']>().toEqualTypeOf<ParameterCount>()
    expectTypeOf<BenchReport['model']['flopsPerToken']>().toEqualTypeOf<FlopParts>()
  })

  test('as JSON Schema it takes reports of every part, and refuses a missing field and a wrong type', () => {
    const schema = z.fromJSONSchema(JSON.parse(readFileSync(file, 'utf8')))
    const full = fullReport()
    const stored = JSON.parse(JSON.stringify(full))
    expect(schema.safeParse(stored).error).toBeUndefined()
    expect(benchSchema.parse(stored)).toEqual(full)
    const { samplesMs: _, ...short } = stored.rows[3]
    expect(schema.safeParse({ ...stored, rows: [short] }).success).toBe(false)
    expect(schema.safeParse({ ...stored, rows: [{ ...stored.rows[3], n: '21' }] }).success).toBe(false)
  })
})
