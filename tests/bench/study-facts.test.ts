import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readQuality } from '../../bench/quality/read.ts'
import { qualityMarkdown } from '../../bench/quality/table.ts'
import { factsConclusion, factsSummary } from '../../bench/study/facts.ts'
import { type PlannedRun, planStudy, type StudyOptions } from '../../bench/study/plan.ts'
import { studyReport } from '../../bench/study/summary.ts'
import type { StudyRun } from '../../bench/study/train.ts'
import { proportion } from '../../src/eval/proportion.ts'
import { exposureSteps } from '../../src/train/facts.ts'
import { finishedRuns } from './study-runs.ts'

const facts = { entities: 100, phrasings: 5, share: 0.8 }
const [rows, length] = [8, 288]
const tokens = exposureSteps(facts, 100, { rows, length }) * rows * length
const OPTIONS: StudyOptions = { seeds: 3, tokens, rows, length, peakLearningRate: 4e-3, size: 'small', facts }
const plan = planStudy(OPTIONS)

/** Facts recalled of 500 by preset, and how a seed changes that. */
const RIGHT: Record<string, number> = {
  moe: 400,
  'dense-active': 200,
  'dense-total': 410,
  deepseek: 390,
}
const BY_SEED = [0, -20, 20]

function factsOf({
  settings: { preset, seed },
  totalParameters,
  activeParameters,
}: PlannedRun): StudyRun['facts'] {
  const known = (correct: number) => {
    const [right, storedBits] = [proportion(correct, 500), 7.6 * correct]
    const bitsAParameter = { total: storedBits / totalParameters, active: storedBits / activeParameters }
    return {
      right,
      storedBits,
      bitsAParameter,
      byAttribute: { 'person pet': { right, bitsAFact: 6, storedBits } },
    }
  }
  const correct = RIGHT[preset] + BY_SEED[seed - 1]
  return {
    entities: 100,
    phrasings: 5,
    possibleBits: 3800,
    recall: known(correct),
    recitation: known(correct + 50),
  }
}
const runs = finishedRuns(plan, () => 1, factsOf)
const report = studyReport(OPTIONS, plan, runs)

test('the plan trains all presets at equal tokens alone, on the facts', () => {
  expect(plan).toHaveLength(12)
  for (const { budgets, settings, tokens: own } of plan)
    expect([budgets, settings.facts, own, settings.size]).toEqual([['tokens'], facts, tokens, 'small'])
})

describe('the summary', () => {
  test('has recall and bits of each preset, by hand', () => {
    const [moe] = report.facts!.cells
    expect(moe).toMatchObject({ preset: 'moe', values: [0.8, 0.76, 0.84], min: 0.76, max: 0.84 })
    expect(moe.mean).toBeCloseTo(0.8, 12)
    expect(moe.high).toBeCloseTo(0.8 + (4.303 * 0.04) / Math.sqrt(3), 10) // t of 2 degrees of freedom
    expect(moe.recitation).toBeCloseTo(0.9, 12)
    expect(moe.storedBits).toBeCloseTo(7.6 * 400, 6)
    expect(moe.bitsAParameter).toBeCloseTo((7.6 * 400) / 288_032, 12)
    expect(moe.bitsAnActiveParameter).toBeCloseTo((7.6 * 400) / 140_576, 12)
    expect(moe.byAttribute['person pet']).toBeCloseTo(0.8, 12)
  })

  test('takes differences within a seed', () => {
    const [first] = report.facts!.differences
    expect(first).toMatchObject({ preset: 'moe', than: 'dense-active', seeds: [1, 2, 3] })
    for (const value of first.values) expect(value).toBeCloseTo(0.4, 12)
  })

  test('says what the mixture keeps and the dense models keep, with the spread', () => {
    expect(factsConclusion(report.facts!)).toBe(
      'In words that no training text has for them the mixture recalls 80.0 % of the facts; ' +
        'dense-active 40.0 % (3 seeds, difference +40.0, 95 % interval +40.0 to +40.0); ' +
        'dense-total 82.0 % (3 seeds, difference -2.0, 95 % interval -2.0 to -2.0).',
    )
  })

  test('of one seed says that it says nothing about others, and of none that there is none', () => {
    const one = factsSummary(runs.slice(0, 2))!
    expect(factsConclusion(one)).toMatch(/dense-active 40\.0 % \(one seed, which says nothing about others\)/)
    expect(factsConclusion(factsSummary(runs.slice(0, 1))!)).toBe('No pair of trainings is finished.')
    expect(factsSummary(finishedRuns(plan, () => 1))).toBeNull()
  })
})

test('the page has a section of the facts where there is such a study, and none where not', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-study-facts-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const study = studyReport(
    { ...OPTIONS, facts: null },
    plan,
    finishedRuns(plan, () => 2),
  )
  writeFileSync(join(dir, 'study.json'), JSON.stringify(study))
  expect(qualityMarkdown(readQuality(dir))).not.toContain('## Facts')
  writeFileSync(join(dir, 'study-facts.json'), JSON.stringify(report))
  const page = qualityMarkdown(readQuality(dir))
  expect(page).toContain(`## Facts\n\n${factsConclusion(report.facts!)}`)
  expect(page).toContain(
    '| moe | 80.0 % | 70.1 % to 89.9 % | 76.0 % | 84.0 % | 90.0 % | 3,040 | 0.011 | 0.022 | 3 |',
  )
  expect(page).toContain('| moe less dense-active | +40.0 | +40.0 to +40.0 | +40.0, +40.0, +40.0 |')
  expect(page).toContain('| person pet | 80.0 % | 40.0 % | 82.0 % | 78.0 % |')
  expect(page).toContain('## Losses of the study of facts')
  const [, losses] = page.split('## Losses of the study of facts')
  expect(losses).not.toMatch(/compute/) // no training had that budget
})
