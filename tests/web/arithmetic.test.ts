import { describe, expect, test } from 'vitest'
import { weightBytesPerToken } from '../../src/cost/bytes.ts'
import { flopsPerToken, totalFlops } from '../../src/cost/flops.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { loadModel } from '../../src/load-model.ts'
import type { ModelConfig } from '../../src/model/config.ts'
import { interventionsByLayer } from '../../src/model/router/interventions.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import { costOfRun } from '../../src/web/cost/of-run.ts'
import { breakAt, NO_BREAKS } from '../../src/web/play/breakpoints.ts'
import {
  type Changes,
  changesFromQuery,
  changesToQuery,
  interventionsOf,
  UNCHANGED,
} from '../../src/web/play/changes.ts'

const TOKENS = [1, 49, 80, 313]

async function traced(topK?: number): Promise<{ config: ModelConfig; trace: RoutingTrace }> {
  const model = await loadModel('tinymoe:moe')
  const { logits, trace } = model.forward(TOKENS, { trace: true, interventions: topK ? { topK } : undefined })
  logits.dispose()
  model.dispose()
  return { config: model.config, trace }
}

/** The same model with another K. */
function withTopK(config: ModelConfig, topK: number): ModelConfig {
  const layers = config.layers.map((layer) =>
    layer.feedForward.kind === 'moe'
      ? { ...layer, feedForward: { ...layer.feedForward, router: { ...layer.feedForward.router, topK } } }
      : layer,
  )
  return { ...config, layers }
}

test.each([2, 1, 5])(
  'what a run cost with k=%i is what the formulas say of a model with that K',
  async (topK) => {
    const { config, trace } = await traced(topK)
    const cost = costOfRun(config, { trace, tokens: TOKENS })
    const other = withTopK(config, topK)
    expect(cost.parameters.active).toBe(countParameters(other).active)
    expect(cost.flops.active).toBe(totalFlops(flopsPerToken(other, TOKENS.length, 'sparse')))
    expect(cost.bytes.active).toBe(weightBytesPerToken(other))
  },
)

describe('breakpoints look at the newest token', () => {
  test('sent to an expert, in that layer alone', async () => {
    const { trace } = await traced()
    const [first] = trace.layers[1].expertIndices.slice(-2)
    const absent = [...Array(8).keys()].find((e) => !trace.layers[1].expertIndices.slice(-2).includes(e))!
    const at = (layer: number, expert: number) => breakAt({ ...NO_BREAKS, send: { layer, expert } }, trace)
    expect(at(1, first)).toBe(`Layer 1 sent token 3 to expert ${first}.`)
    expect(at(1, absent)).toBeNull()
  })

  test('margin and overflow, from their thresholds on', async () => {
    const { trace } = await traced()
    const margins = trace.layers.map((layer) => layer.margins[3]!)
    const least = Math.min(...margins)
    expect(breakAt({ ...NO_BREAKS, margin: least }, trace)).toBeNull()
    expect(breakAt({ ...NO_BREAKS, margin: least + 1e-6 }, trace)).toBe(
      `Layer ${margins.indexOf(least)} was nearly undecided about token 3: margin ${least.toFixed(4)}.`,
    )
    expect(breakAt({ ...NO_BREAKS, overflow: 100 }, trace)).toBeNull()
    expect(breakAt({ ...NO_BREAKS, overflow: 0.1 }, trace)).toMatch(
      /^Expert \d of layer \d overflows: \d tokens for 1 seats\.$/,
    )
  })
})

describe('changes in an address', () => {
  const CHANGED: Partial<Changes>[] = [
    {},
    { topK: 3, temperature: 0.5 },
    {
      capacity: 0.75,
      policy: 'next-best',
      off: [
        { layer: 0, expert: 3 },
        { layer: 2, expert: 7 },
      ],
    },
    { route: 'random', seed: 12 },
    { route: 'round-robin' },
    { route: 'replay', replay: 'Es war & blieb = so?' },
  ]

  test.each(CHANGED)('%j come back as they were', (part) => {
    const query = new URLSearchParams()
    changesToQuery({ ...UNCHANGED, ...part }, query)
    expect(changesFromQuery(new URLSearchParams(String(query)))).toEqual({ ...UNCHANGED, ...part })
  })

  test('what is no change is none', () => {
    const query = new URLSearchParams('k=-1&temperature=x&capacity=a,b&route=magic&off=1&seed=1.5')
    expect(changesFromQuery(query)).toEqual(UNCHANGED)
    expect(interventionsOf(UNCHANGED, null)).toBeUndefined()
  })

  test('they are interventions that the engine takes', async () => {
    const { config, trace } = await traced()
    for (const part of CHANGED) {
      const interventions = interventionsOf({ ...UNCHANGED, ...part }, trace)
      if (interventions) expect(interventionsByLayer(interventions, config.layers)).toHaveLength(4)
    }
  })
})
