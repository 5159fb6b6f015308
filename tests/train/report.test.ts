import { parseHTML } from 'linkedom'
import { expect, test } from 'vitest'
import { modelCard, trainCommand } from '../../src/train/card.ts'
import { deviceLine } from '../../src/train/card-words.ts'
import { curveSvg } from '../../src/train/curve.ts'
import type { LogRecord } from '../../src/train/log.ts'
import { trainSettings } from '../../src/train/settings.ts'
import { configOf } from '../../src/train/start.ts'
import { generatedTexts } from '../../src/train/texts.ts'
import { exampleEvaluation } from './evaluation.ts'

/** A log of 500 steps whose loss falls from 6 to 1; expert 0 of four layers gets more than its share. */
function fakeLog(layers: number): LogRecord[] {
  const load = Array.from({ length: layers }, () => [0.3, ...new Array(7).fill(0.1)])
  const steps = Array.from({ length: 500 }, (_, i): LogRecord => {
    const crossEntropy = 6 - (5 * i) / 499
    const losses = { loss: crossEntropy, crossEntropy, balance: 1, z: 4 }
    return { step: i + 1, ...losses, learningRate: 1e-3, gradientNorm: 1, load, tokensPerSecond: 4096 }
  })
  return [...steps, { step: 500, validation: 1.25, byDomain: { story: 1.5, arithmetic: 1 } }]
}

/** Points of each line; straight ones, no grid and no axes. */
function pointsOf(svg: string): [x: number, y: number][][] {
  const { document } = parseHTML(svg)
  return [...document.querySelectorAll('[aria-label="line"] path')].map((path) =>
    path
      .getAttribute('d')!
      .slice(1)
      .replace('Z', '') // of a line of one point
      .split('L')

      .map((point: string) => point.split(',').map(Number) as [number, number]),
  )
}

test('the curve has the losses, and for each mixture layer its most and least used expert', () => {
  const svg = curveSvg(fakeLog(4), 'moe <1>')
  expect(svg).toContain('moe &lt;1&gt;')
  const lines = pointsOf(svg)
  expect(lines).toHaveLength(2 + 4 * 2 + 1)
  const [training] = lines
  expect(training.length).toBeLessThanOrEqual(200)
  expect(training.at(-1)![1]).toBeGreaterThan(training[0][1]) // down the page: less
  const [most, least] = [lines[2], lines[3]]
  expect(most[0][1]).toBeLessThan(least[0][1])
  for (const [x, y] of lines.flat()) {
    expect(x).toBeGreaterThanOrEqual(0)
    expect(x).toBeLessThanOrEqual(800)
    expect(Number.isFinite(y)).toBe(true)
  }
})

test('a dense model has no panel of experts', () => {
  expect(pointsOf(curveSvg(fakeLog(0), 'dense-active'))).toHaveLength(2)
})

test('the card says data, command, losses and loads, all from settings and log', () => {
  const settings = trainSettings({ preset: 'moe', steps: 500, seed: 7 })
  const card = modelCard({
    settings,
    config: configOf(settings),
    texts: generatedTexts(7),
    log: fakeLog(4),
    devices: ['cpu (two threads)'],
    evaluation: null,
  })
  expect(card).toContain('npm run train -- --preset moe --steps 500 --seed 7\n')
  expect(card).toContain('3,609,728, of which one token uses 1,250,432')
  expect(card).toContain('| training, mean of the last 100 steps | 1.496 |') // 6 - 5 (449.5 / 499)
  expect(card).toContain('| validation, mean of the domains | 1.250 |')
  expect(card).toContain('| - story | 1.500 |')
  expect(card).toContain('| 4 | 10.0 % | 30.0 % | 12.5 % |')
  expect(card).toContain('(2,048,000 tokens) on cpu (two threads), 8 minutes') // 500 steps of a second
  expect(card).toContain('seed 7')
})

test('an evaluated model has losses, answers, cost and speed of the report in its card', () => {
  const settings = trainSettings({ preset: 'moe', steps: 500 })
  const context = {
    settings,
    config: configOf(settings),
    texts: generatedTexts(1),
    log: fakeLog(4),
    devices: ['cpu'],
  }
  const card = modelCard({ ...context, evaluation: exampleEvaluation() })
  expect(card).toContain('eval <this directory> --split heldout --samples 100 --seed 1\n')
  expect(card).toContain('| story | 0.250 | 0.013 | 9 |')
  expect(card).toContain('| arithmetic | 0.750 | - | 9 |')
  expect(card).toContain('| mean of domains | 0.500 |')
  expect(card).toContain('Perplexity 1.649, 0.432 bits a character')
  expect(card).toContain('50.0 % (2 of 4) right with the working written out, 50.0 % (1 of 2) without')
  expect(card).toContain('| arithmetic | plain | 50.0 % | 1/2 | 9.5 % to 90.5 % |') // Wilson's interval
  expect(card).toContain('| story | story | 75.0 % | 3/4 |')
  expect(card).toContain('2,498,560 matrix FLOPs a token at 128 keys')
  expect(card).toContain('6400 tokens/s reading (128 tokens), 321 tokens/s writing')
  expect(card).toContain(
    'cpu (a processor, 2 threads), TensorFlow 2.21.0, executor recorded, load average before unknown',
  )
  expect(card).toContain('3 of 12 documents were cut.')
  expect(card.indexOf('## Limits')).toBeGreaterThan(card.indexOf('## Evaluation'))
  expect(modelCard({ ...context, evaluation: null })).not.toContain('Evaluation')
})

test('a training that went on elsewhere names both devices', () => {
  const settings = trainSettings({ preset: 'moe', steps: 500 })
  const context = {
    settings,
    config: configOf(settings),
    texts: generatedTexts(1),
    log: fakeLog(4),
    evaluation: null,
  }
  expect(modelCard({ ...context, devices: ['cpu (A)', 'cpu (B)'] })).toContain('on cpu (A), then cpu (B), ')
  expect(modelCard({ ...context, devices: [] })).toContain('on a device that was not noted')
  const { runtime } = exampleEvaluation().conditions
  expect(deviceLine(runtime)).toBe('cpu (a processor, 2 threads)')
  expect(deviceLine({ ...runtime, deviceName: null, threads: 1 })).toBe('cpu (1 thread)')
})

test('a small one says so, and counts its own parameters', () => {
  const settings = trainSettings({ preset: 'moe', size: 'small', steps: 500 })
  const card = modelCard({
    settings,
    config: configOf(settings),
    texts: generatedTexts(1),
    log: fakeLog(4),
    devices: ['cpu'],
    evaluation: null,
  })
  expect(card).toMatch(/^# moe, small\n/)
  expect(card).toContain('--preset moe --size small --steps 500 --seed 1\n')
  expect(card).toContain('288,032, of which one token uses 140,576')
})

test('the card of a dense model speaks of no experts', () => {
  const settings = trainSettings({ preset: 'dense-total', steps: 500 })
  const card = modelCard({
    settings,
    config: configOf(settings),
    texts: generatedTexts(1),
    log: fakeLog(0),
    devices: ['cpu'],
    evaluation: null,
  })
  expect(card).not.toMatch(/expert|balance/)
})

test('the command names what differs from the defaults, and nothing else', () => {
  const settings = trainSettings({
    preset: 'moe',
    steps: 9,
    corpus: ['a.txt', 'b'],
    rows: 4,
    peakLearningRate: 1e-3,
  })
  expect(trainCommand(settings)).toBe(
    'npm run train -- --preset moe --steps 9 --seed 1 --corpus a.txt b --batch 4 --learning-rate 0.001',
  )
})
