import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { runJobs } from '../../bench/study/jobs.ts'
import { type PlannedRun, planStudy, type StudyOptions } from '../../bench/study/plan.ts'
import { meanInterval, spreadOf } from '../../bench/study/statistics.ts'
import { domainDifferences, runsIn, studyReport } from '../../bench/study/summary.ts'
import type { StudyRun } from '../../bench/study/train.ts'
import { readResult } from '../../bench/study/train.ts'
import { generateSample } from '../../src/corpus/index.ts'
import { countParameters } from '../../src/cost/index.ts'
import { presetOf } from '../../src/train/presets.ts'
import { finishedRuns } from './study-runs.ts'

const OPTIONS: StudyOptions = {
  seeds: 3,
  tokens: 800_000,
  rows: 8,
  length: 288,
  peakLearningRate: 4e-3,
  size: 'small',
}

function directory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-study-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  return dir
}

test('a report has the trainings of the same study with more seeds, and none of another', () => {
  const plan = planStudy(OPTIONS)
  const report = JSON.parse(
    JSON.stringify(
      studyReport(
        OPTIONS,
        plan,
        finishedRuns(plan, () => 1),
      ),
    ),
  )
  expect(runsIn(report, { ...OPTIONS, seeds: 5, pairSeeds: 7, facts: null })).toEqual(report.runs)
  expect(report.runs).toHaveLength(plan.length)
  for (const other of [
    { size: 'full' as const },
    { rows: 4 },
    { facts: { entities: 9, phrasings: 5, share: 0.5 } },
  ])
    expect(runsIn(report, { ...OPTIONS, ...other })).toEqual([])
})

describe('the plan', () => {
  const plan = planStudy(OPTIONS)
  const runsOf = (preset: string, budget: string) =>
    plan.filter(({ settings, budgets }) => settings.preset === preset && budgets.some((b) => b === budget))

  test.each(['moe', 'dense-active', 'dense-total', 'deepseek'])(
    'has %s in both comparisons, each seed once',
    (preset) => {
      for (const budget of ['tokens', 'compute'])
        expect(runsOf(preset, budget).map(({ settings }) => settings.seed)).toEqual([1, 2, 3])
    },
  )

  test('more seeds of the pair are trainings of moe and dense-active alone', () => {
    const more = planStudy({ ...OPTIONS, pairSeeds: 5 })
    const added = more.filter(({ id }) => !plan.some((run) => run.id === id))
    expect(more.filter((run) => !added.includes(run))).toEqual(plan)
    expect(added.map(({ settings: { preset, seed } }) => `${preset} ${seed}`)).toEqual([
      'moe 4',
      'dense-active 4',
      'moe 5',
      'dense-active 5',
    ])
  })

  test('at equal tokens all have the same, near what was asked for', () => {
    const tokens = new Set(plan.filter(({ budgets }) => budgets.includes('tokens')).map((run) => run.tokens))
    expect([...tokens]).toEqual([347 * 8 * 288]) // 800,000 / 2,304 = 347.2
  })

  test('at equal compute all cost what moe does, within one percent', () => {
    const [{ trainingFlops }] = runsOf('moe', 'compute')
    for (const run of plan.filter(({ budgets }) => budgets.includes('compute')))
      expect(Math.abs(run.trainingFlops / trainingFlops - 1), run.id).toBeLessThan(0.01)
  })

  test('what costs more or less a token has other tokens for that, on a schedule of their length', () => {
    const own = plan.filter(({ budgets }) => !budgets.includes('tokens'))
    expect(new Set(own.map(({ settings }) => settings.preset))).toEqual(new Set(['dense-total', 'deepseek']))
    for (const { tokens, settings } of own) {
      expect(settings.steps * settings.rows * settings.length).toBe(tokens)
      expect(tokens).toBeLessThan(OPTIONS.tokens * (settings.preset === 'dense-total' ? 0.65 : 1.2))
    }
  })

  test('training FLOPs are six a multiply-add: by hand for dense-active', () => {
    const [run] = runsOf('dense-active', 'tokens')
    const [D, H, V, L, T] = [32, 128, 1024, 4, 288]
    const attention = 2 * D * (2 * D + D + D + 2 * D) + 2 * 2 * T * 2 * D // q, k, v, o; scores and mix over all keys
    const forward = L * (attention + 2 * 3 * D * H) + 2 * D * V
    expect(run.flopsPerToken).toBe(forward)
    expect(run.trainingFlops).toBe(3 * forward * run.tokens)
    const { total, active } = countParameters(presetOf(run.settings).config)
    expect([run.totalParameters, run.activeParameters]).toEqual([total, active])
  })
})

describe('statistics', () => {
  test('of 1, 2, 3 by hand', () => {
    const spread = spreadOf([1, 2, 3])
    expect(spread).toMatchObject({ mean: 2, min: 1, max: 3, standardDeviation: 1 })
    const { low, high } = meanInterval(spread)
    expect(low).toBeCloseTo(2 - 4.303 / Math.sqrt(3), 10) // t of 2 degrees of freedom
    expect(high).toBeCloseTo(2 + 4.303 / Math.sqrt(3), 10)
  })

  test('a single value has no spread and no interval', () => {
    expect(spreadOf([5]).standardDeviation).toBeNull()
    expect(meanInterval(spreadOf([5]))).toEqual({ low: null, high: null })
    expect(() => spreadOf([])).toThrow(/no values/)
  })

  test('many values take the last point of the table', () => {
    const spread = spreadOf(Array.from({ length: 50 }, (_, i) => i % 2))
    const { high } = meanInterval(spread)
    expect(high).toBeCloseTo(0.5 + (2.042 * spread.standardDeviation!) / Math.sqrt(50), 10)
  })
})

describe('the report', () => {
  const plan = planStudy(OPTIONS)
  const finished = (loss: (run: PlannedRun) => number) => finishedRuns(plan, loss)
  const byPreset: Record<string, number> = { moe: 1, 'dense-active': 1.1, 'dense-total': 0.9, deepseek: 1.05 }

  test('takes differences within a seed, so what a seed does to all presets falls out', () => {
    const runs = finished(({ settings }) => byPreset[settings.preset] + 10 * settings.seed)
    const { cells, differences } = studyReport(OPTIONS, plan, runs)
    expect(cells).toHaveLength(8)
    expect(cells[0]).toMatchObject({ budget: 'tokens', preset: 'moe', mean: 21, min: 11, max: 31 })
    const [first] = differences
    expect(first).toMatchObject({ preset: 'moe', than: 'dense-active', seeds: [1, 2, 3] })
    for (const value of first.values) expect(value).toBeCloseTo(-0.1, 10)
    expect(first.low).toBeCloseTo(-0.1, 10)
  })

  test('says who is better, in either direction, and when it cannot be told', () => {
    const clear = studyReport(
      OPTIONS,
      plan,
      finished(({ settings }) => byPreset[settings.preset]),
    )
    expect(clear.conclusion).toMatch(
      /loss is 0\.100 nats a token below that of a dense model with as many active parameters/,
    )
    expect(clear.conclusion).toMatch(
      /0\.100 nats a token above that of a dense model with as many parameters in all/,
    )
    const noisy = finished(({ settings: { preset, seed } }) =>
      preset === 'moe' ? 1 + [0.5, -0.6, 0.2][seed - 1] : 1,
    )
    expect(studyReport(OPTIONS, plan, noisy).conclusion).toMatch(
      /loss is not told apart from that of a dense model with as many active .* \(3 seeds, mean \+0\.033, 95 %/,
    )
  })

  test('of a study that has begun holds what there is', () => {
    const runs = finished(({ settings }) => byPreset[settings.preset]).slice(0, 2) // moe and dense-active of seed 1
    const report = studyReport(OPTIONS, plan, runs)
    expect(report.planned).toBe(18)
    expect(report.cells.map(({ preset }) => preset)).toEqual(['moe', 'dense-active', 'moe', 'dense-active'])
    expect(report.differences[0]).toMatchObject({ seeds: [1], low: null, high: null })
    expect(report.conclusion).toMatch(/below that of .* \(one seed, which says nothing about others\)/)
    expect(studyReport(OPTIONS, plan, []).conclusion).toBe('No pair of trainings is finished.')
  })
})

describe('processes', () => {
  const tiny = planStudy({
    seeds: 1,
    tokens: 4 * 64,
    rows: 2,
    length: 32,
    peakLearningRate: 4e-3,
    size: 'small',
  })
  const planned = tiny.find(({ settings }) => settings.preset === 'moe')!
  const facts = { entities: 4, phrasings: 5, share: 0.5 }
  /** On own texts: their tokenizer takes no time. It is asked for facts that it has not read. */
  const runOn = (dir: string): PlannedRun => {
    const file = join(dir, 'texts.txt')
    const texts = Array.from({ length: 60 }, (_, i) => generateSample('story', 'train', i, 1).text)
    writeFileSync(file, texts.join('\n\n'))
    return { ...planned, settings: { ...planned.settings, corpus: [file], facts } }
  }
  const hooks = () => {
    const steps: number[] = []
    const results: StudyRun[] = []
    const controller = new AbortController()
    return {
      controller,
      steps,
      results,
      signal: controller.signal,
      onStep: (_: PlannedRun, step: number) => {
        steps.push(step)
      },
      onResult: (result: StudyRun) => {
        results.push(result)
      },
    }
  }

  test('one that is interrupted leaves a checkpoint, and the next call goes on to the result', async () => {
    const out = directory()
    const run = runOn(out)
    const first = hooks()
    const abort = (_: PlannedRun, step: number) => {
      first.steps.push(step)
      first.controller.abort()
    }
    await runJobs(out, [run], 1, { ...first, onStep: abort })
    expect(first.results).toEqual([])
    expect(readResult(join(out, run.id), run)).toBeNull()
    expect(first.steps.length).toBeLessThan(4)

    const second = hooks()
    await runJobs(out, [run], 2, second)
    expect(second.steps).toEqual([1, 2, 3, 4].slice(first.steps.length))
    const [result] = second.results
    expect(result).toEqual(readResult(join(out, run.id), run))
    expect(result).toMatchObject({ id: run.id, preset: 'moe', seed: 1, steps: 4, tokens: 256 })
    expect(Object.keys(result.byDomain)).toContain('facts')
    expect(result.facts).toMatchObject({
      entities: 4,
      possibleBits: 4 * 31,
      recall: { right: { total: 20 } },
    })
    const { storedBits, bitsAParameter } = result.facts!.recall
    expect(bitsAParameter.active).toBeCloseTo(storedBits / run.activeParameters, 12)
    expect(result.loss).toBeGreaterThan(6) // four steps from log 1024 = 6.93
    expect(result.loss).toBeLessThan(7)
    expect(result.devices).toEqual([expect.stringMatching(/^cpu \(.*1 thread\)$/)])
    expect(result.leastUsed!).toBeLessThan(1 / 8)

    const other = { ...run, settings: { ...run.settings, peakLearningRate: 1 } }
    expect(() => readResult(join(out, run.id), other)).toThrow(/holds a training with other settings/)
  })

  test('one that fails is named with its reason', async () => {
    const out = directory()
    const run = runOn(out)
    writeFileSync(join(out, run.id), 'a file where a folder should be')
    await expect(runJobs(out, [run], 1, hooks())).rejects.toThrow(
      new RegExp(`^${run.id} failed: .*(EEXIST|ENOTDIR)`, 's'),
    )
  })
})

test('domain by domain: only differences whose interval excludes zero are called lower or higher', () => {
  const plan = planStudy(OPTIONS)
  const runs = finishedRuns(plan, () => 1).map((run) => {
    const noise = [0.01, -0.01, 0.02][run.seed - 1]
    const moe = run.preset === 'moe'
    const byDomain = {
      story: moe ? 0.9 + noise / 10 : 1,
      arithmetic: moe ? 1.2 + noise / 10 : 1,
      code: 1 + (moe ? noise : 0),
    }
    return { ...run, byDomain }
  })
  expect(domainDifferences(runs).map(({ domain, difference: { mean } }) => [domain, mean])).toEqual([
    ['story', expect.closeTo(-0.0993, 3)],
    ['arithmetic', expect.closeTo(0.2007, 3)],
    ['code', expect.closeTo(0.0067, 3)],
  ])
})
