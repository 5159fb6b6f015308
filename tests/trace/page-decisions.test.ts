import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { Decisions } from '../../src/trace/decision.ts'
import { pageDecisions } from '../../src/trace/page-decisions.ts'
import { traceRun } from '../../src/trace/run.ts'
import { decisionsOf } from './decisions.ts'
import { smallTrace } from './traces.ts'

describe('of a router that compares by more than its scores', () => {
  let model: LoadedModel
  beforeAll(async () => {
    model = await loadModel('models/deepseek', { device: 'cpu', executor: 'eager' })
  })
  afterAll(() => model.dispose())

  test('the score that decides is there, and chooses what was chosen', async () => {
    const { trace } = await traceRun(model, { tokens: [1, 22, 25, 13, 26], maxTokens: 0 })
    const decisions = new Decisions(model, trace)
    const page = pageDecisions(trace, (l, t) => decisions.at(l, t))
    trace.layers.forEach((layer, l) => {
      trace.rows.forEach((_, t) => {
        const { compared, steps, verdict } = page.decisions[t][l]
        const c = compared.split(' ').map(Number)
        const K = layer.topK
        const chosen = [...layer.expertIndices.slice(t * K, (t + 1) * K)]
        const others = c.filter((value, e) => !chosen.includes(e) && !Number.isNaN(value)) // none of a group that is left out
        expect(Math.min(...chosen.map((e) => c[e]))).toBeGreaterThanOrEqual(Math.max(...others))
        expect(verdict).toContain('come to the recorded decision')
        expect(steps.map(([w]) => page.words[w].name)).toEqual([
          ...[
            'logits',
            'scores',
            'choosing-bias',
            'group-limit',
            'top-k',
            'renormalise',
            'scale',
            'capacity',
          ],
        ])
        expect(steps.at(-1)![3]).toEqual(chosen)
      })
    })
    // By scores alone this page would show another choice somewhere: that is what it is for.
    const byScore = trace.layers.some(({ scores, expertIndices, topK: K }) =>
      trace.rows.some((_, t) => {
        const s = [...scores.slice(t * 16, (t + 1) * 16)]
        const best = s.toSorted((a, b) => b - a).slice(0, K)
        return [...expertIndices.slice(t * K, (t + 1) * K)].some((e) => !best.includes(s[e]))
      }),
    )
    expect(byScore).toBe(true)
  })
})

test('words are there once, numbers for every decision, marks from the choice on', () => {
  const trace = smallTrace()
  const { words, decisions } = pageDecisions(trace, decisionsOf(trace))
  expect(new Set(words.map((own) => JSON.stringify(own))).size).toBe(words.length)
  expect(decisions).toHaveLength(3)
  for (const [w, experts, , chosen] of decisions[2][0].steps) {
    const { name, applies } = words[w]
    expect(chosen, name).toEqual(['scores', 'choosing-bias', 'group-limit'].includes(name) ? [] : [2, 3])
    if (!applies) expect(experts).toEqual([])
  }
  expect(decisions[2][0].compared).toBe('0.1250 0.1250 0.5000 0.2500')
})
