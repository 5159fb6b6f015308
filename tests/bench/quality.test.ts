import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parseHTML } from 'linkedom'
import { describe, expect, onTestFinished, test } from 'vitest'
import { qualityPicture } from '../../bench/quality/picture.ts'
import { type Quality, readQuality } from '../../bench/quality/read.ts'
import { qualityMarkdown } from '../../bench/quality/table.ts'
import { planStudy, type StudyOptions } from '../../bench/study/plan.ts'
import { studyReport } from '../../bench/study/summary.ts'
import type { EvalReport } from '../../src/eval/types.ts'
import { PRESET_NAMES } from '../../src/train/presets.ts'
import { exampleEvaluation } from '../train/evaluation.ts'
import { finishedRuns } from './study-runs.ts'

const OPTIONS: StudyOptions = {
  seeds: 3,
  tokens: 800_000,
  rows: 8,
  length: 288,
  peakLearningRate: 8e-3,
  size: 'small',
}
const LOSSES: Record<string, number> = { moe: 1, 'dense-active': 1.1, 'dense-total': 0.9, deepseek: 1.05 }
const plan = planStudy(OPTIONS)
const runs = finishedRuns(plan, ({ settings, budgets }) => {
  const atCompute = budgets.includes('tokens') ? 0 : 0.5
  return LOSSES[settings.preset] + atCompute + [0.02, -0.02, 0][settings.seed - 1]
})
const study = studyReport(OPTIONS, plan, runs)

function evaluation(loss: number): EvalReport {
  const report = exampleEvaluation()
  return { ...report, loss: { ...report.loss, mean: loss } }
}

const shipped = PRESET_NAMES.map((preset) => ({ preset, report: evaluation(LOSSES[preset]) }))

function folderWith(files: Record<string, unknown>): string {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-quality-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), JSON.stringify(content))
  return dir
}

/** Circles of each chart of the picture: colour, filled, height from the top. */
function charts(quality: Quality) {
  const { document } = parseHTML(qualityPicture(quality))
  return [...document.querySelectorAll('svg svg')].map((chart) =>
    [...chart.querySelectorAll('circle')].map((circle) => {
      const group = circle.parentElement!
      const attribute = (name: string) => circle.getAttribute(name) ?? group.getAttribute(name)
      return {
        color: attribute('stroke'),
        filled: attribute('fill') !== 'none',
        y: Number(circle.getAttribute('cy')),
      }
    }),
  )
}

describe('the picture', () => {
  test('has a dot a shipped model, and a dot a seed with the runs of equal compute hollow', () => {
    const [flops, parameters, seeds, seedsByParameters] = charts({ shipped, study })
    expect(flops).toHaveLength(4)
    expect(parameters).toHaveLength(4)
    for (const chart of [seeds, seedsByParameters]) {
      expect(chart).toHaveLength(6 * 3) // four presets, and two of them again at equal compute
      expect(chart.filter(({ filled }) => !filled)).toHaveLength(2 * 3)
    }
  })

  test('has the lower loss lower', () => {
    const [flops] = charts({ shipped, study: null })
    const order = [...flops].sort((a, b) => b.y - a.y).map(({ color }) => color)
    const byLoss = PRESET_NAMES.map((name, i) => ({ loss: LOSSES[name], color: flops[i].color }))
    expect(order).toEqual(byLoss.sort((a, b) => a.loss - b.loss).map(({ color }) => color))
    expect(new Set(order).size).toBe(4)
  })

  test('draws what there is', () => {
    expect(charts({ shipped: [], study })).toHaveLength(2)
    expect(charts({ shipped: shipped.slice(0, 1), study: null })[0]).toHaveLength(1)
    expect(qualityPicture({ shipped, study })).not.toMatch(/fill="(white|#fff)/)
  })
})

test("the page has the losses, the differences and the study's sentence", () => {
  const page = qualityMarkdown({ shipped, study })
  expect(page).toContain('| moe | 3,609,728 | 1,250,432 | 2,498,560 | 1.000 | 0.250 | 0.750 | 0.432 | 2/4 |')
  expect(page).toMatch(
    /\| compute \| dense-total \|.* 506,880 \| 1\.22 \| 1\.400 \| 1\.380 \| 1\.420 \| 3 \|/,
  )
  expect(page).toContain(
    '| tokens | moe less dense-active | -0.100 | -0.100 to -0.100 | -0.100, -0.100, -0.100 |',
  )
  expect(page).toContain(study.conclusion)
  expect(page).toMatch(/Equal compute: as many tokens as cost the FLOPs of the training of moe/)
  expect(page).not.toContain('Not finished')
  const begun = studyReport(OPTIONS, plan, runs.slice(0, 2))
  expect(qualityMarkdown({ shipped: [], study: begun })).toContain('**Not finished: 2 of 18 trainings.**')
})

describe('what is read', () => {
  test('is what is there', () => {
    const dir = folderWith({ 'study.json': study, 'eval-moe.json': shipped[0].report })
    const quality = readQuality(dir)
    expect(quality.study).toEqual(study)
    expect(quality.shipped.map(({ preset }) => preset)).toEqual(['moe'])
  })

  test.each([
    [{}, /has neither study.json, study-facts.json nor an eval-<model>.json/],
    [
      { 'study.json': { format: 'tinymoe-bench', version: 1 } },
      /study.json: is no tinymoe-study of version 1/,
    ],
    [
      { 'eval-moe.json': shipped[0].report, 'eval-deepseek.json': { ...shipped[0].report, seed: 2 } },
      /eval-deepseek.json is of other texts \(heldout, 100, 2, story,arithmetic\) than eval-moe.json/,
    ],
  ])('is refused with a sentence: %#', (files, message) => {
    expect(() => readQuality(folderWith(files))).toThrow(message)
  })
})

test('bench/quality.ts writes both, and says what is missing', async () => {
  const dir = folderWith({ 'study.json': study })
  const picture = join(dir, 'out', 'quality.svg')
  const quality = (...args: string[]) =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', 'bench/quality.ts', ...args])
  await quality('--results', dir, '--picture', picture)
  expect(readFileSync(picture, 'utf8')).toBe(qualityPicture({ shipped: [], study }))
  expect(readFileSync(join(dir, 'quality.md'), 'utf8')).toBe(qualityMarkdown({ shipped: [], study }))
  mkdirSync(join(dir, 'empty'))
  await expect(quality('--results', join(dir, 'empty'))).rejects.toMatchObject({ code: 1 })
  await expect(quality('--result', dir)).rejects.toMatchObject({ code: 2 })
})
