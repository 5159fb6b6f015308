import { describe, expect, test } from 'vitest'
import { analyseCommand } from '../../src/cli/analyse.ts'
import { startRuntime } from '../../src/device/index.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import { MIXTRAL, PATIENT, tinymoe } from '../cli/run-cli.ts'
import { fixtureModel } from '../helpers/golden.ts'
import { randomTokens } from '../helpers/random.ts'

test('the text of the Mixtral fixture shows the numbers of its result', async () => {
  await startRuntime({ device: 'js' })
  const model = fixtureModel('mixtral')
  const { logits, trace } = model.forward(randomTokens(20, model.config.vocabSize, 1), { trace: true })
  logits.dispose()
  const { result, text } = await analyseCommand(model, trace as RoutingTrace, { batch: 5 })
  model.dispose()
  const lines = text.split('\n')
  const line = (start: RegExp, after = 0) => lines.slice(after).find((l) => start.test(l))
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`

  const [whole, batches] = [2, 10].map((i) => result.capacity[i])
  expect(line(/^ *1\.00/)).toContain(percent(whole.dropped))
  const second = lines.findIndex((l) => l.startsWith('Capacity: assignments dropped when 5 tokens of 20'))
  expect(line(/^ *1\.00/, second)).toContain(percent(batches.dropped))

  const cache = lines.findIndex((l) => l.startsWith('Expert cache'))
  const half = result.caches.sizes[3]
  for (const policy of ['lru', 'lfu', 'static', 'optimal'] as const) {
    expect(line(/^ +4 /, cache)).toContain(percent(half.hitRate[policy]))
  }
  expect(line(/^Keeping 4 of 8/)).toContain(percent(half.hitRate.lru))

  const topK = lines.findIndex((l) => l.startsWith('Another K'))
  expect(line(/^2 \(trace\)/, topK)).toMatch(/1\.000 +1\.000 +100\.0% +0\.0000 +0\.0000 +0\.000$/)
  expect(line(/^1 /, topK)).toContain(result.topK[0].klMean.toFixed(4))

  const weights = lines.findIndex((l) => l.startsWith('Weights read'))
  expect(line(/^ +1 /, weights)).toMatch(/1 +2\.00 +2\.00 +153\.6 kB +430\.1 kB +35\.7%$/)
  expect(text.endsWith('\n')).toBe(true)
})

describe('tinymoe trace --analyse', PATIENT, () => {
  const run = (...flags: string[]) => tinymoe('trace', MIXTRAL, '--tokens', '1,5,34,7', ...flags)

  test('prompt and continuation, with the interventions of the run, as JSON', async () => {
    const flags = ['--max-tokens', '7', '--disable', '0', '--analyse', '--batch', '4', '--json']
    const { code, stdout, stderr } = await run(...flags)
    expect(code, stderr).toBe(0)
    const result = JSON.parse(stdout)
    expect(result.tokens).toBe(10) // the last of the new tokens is not fed back
    expect(result.capacity.map(({ batch }: { batch: number }) => batch)).toEqual([
      ...new Array(8).fill(10),
      ...new Array(8).fill(4),
    ])
    expect(result.topK.map(({ topK }: { topK: number }) => topK)).toEqual([1, 2, 3, 4, 5, 6, 7]) // expert 0 is out
    expect(result.topK[1]).toMatchObject({ jaccardLater: 1, klMean: 0 })
    expect(result.caches.layers).toHaveLength(3)
  })

  test('as text', async () => {
    const { code, stdout } = await run('--analyse')
    expect(code).toBe(0)
    for (const heading of ['Capacity:', 'Expert cache:', 'Another K:', 'Weights read:']) {
      expect(stdout).toContain(heading)
    }
  })

  test.each([
    [['--batch', '4'], '--batch belongs to --analyse'],
    [['--analyse', '--layer', '0', '--token', '0'], '--analyse is about the whole run'],
    [['--analyse', '--csv'], '--csv without a file has stdout to itself'],
    [['--analyse', '--batch', '0'], 'Expected a whole number from 1'],
  ])('%o is wrong usage', async (flags, message) => {
    const { code, stderr } = await run(...flags)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})
