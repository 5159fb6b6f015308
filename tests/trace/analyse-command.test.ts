import { expect, test } from 'vitest'
import { analyseCommand } from '../../src/cli/analyse.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import { startRuntime } from '../../src/runtime/index.ts'
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
