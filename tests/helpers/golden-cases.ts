import * as tf from '@tensorflow/tfjs-core'
import { expect, test } from 'vitest'
import type { LayerTrace } from '../../src/model/trace.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { DISPATCHES, type DispatchName } from '../../src/model/ways.ts'
import { type Golden, maxDifference } from './golden.ts'

/** Limits of the reference's SPEC: about ten times the float32 noise of the reference itself. */
const LOGITS = 2e-4
const ROUTER_LOGITS = 1e-4
const WEIGHTS = 2e-5

/** Compares a model with a golden file: logits, hidden states, routing, padded batch and greedy text, each dispatch. */
export function goldenCases(
  model: () => MoeModel,
  golden: Golden,
  {
    hiddenStates = true,
    dispatches = DISPATCHES,
  }: { hiddenStates?: boolean; dispatches?: readonly (DispatchName | 'auto')[] } = {},
) {
  test.each(dispatches)('logits, hidden states and routing of every prompt (%s)', (dispatch) => {
    for (const prompt of golden.prompts) {
      const { logits, trace } = model().forward(prompt.input_ids, {
        dispatch,
        trace: { hiddenStates },
      })
      const values = logits.dataSync()
      logits.dispose()
      if (prompt.logits) expect(maxDifference(values, prompt.logits.flat())).toBeLessThan(LOGITS)
      expect(maxDifference(values.slice(-prompt.last_logits.length), prompt.last_logits)).toBeLessThan(LOGITS)
      expect(trace?.layers.map((l) => l.layer)).toEqual(golden.moe_layers)
      prompt.routing.forEach((expected, i) => {
        expectRouting(trace!.layers[i], expected)
      })
      if (hiddenStates && prompt.hidden_states) expectHiddenStates(trace!.hiddenStates!, prompt.hidden_states)
    }
  })

  test.each(golden.generation)(
    '24 greedy tokens after the $prompt prompt are exact',
    ({ prompt, tokens }) => {
      const ids = golden.prompts.find((p) => p.name === prompt)!.input_ids
      expect(greedy(model(), ids, tokens.length)).toEqual(tokens)
    },
  )

  if ('skipped' in golden.batch) return
  const { input_ids, attention_mask, last_logits } = golden.batch
  test('a left-padded batch gives what the reference gives', () => {
    const { logits } = model().forward(input_ids, { attentionMask: attention_mask, logits: 'last' })
    expect(logits.shape).toEqual([last_logits.length, 1, last_logits[0].length])
    expect(maxDifference(logits.dataSync(), last_logits.flat())).toBeLessThan(LOGITS)
    logits.dispose()
  })
}

function expectRouting(layer: LayerTrace, expected: Golden['prompts'][0]['routing'][0]): void {
  expect(maxDifference(layer.routerLogits, expected.logits.flat())).toBeLessThan(ROUTER_LOGITS)
  const K = layer.topK
  expected.experts.forEach((experts, t) => {
    const own = Array.from({ length: K }, (_, j) => ({
      expert: layer.expertIndices[t * K + j],
      weight: layer.expertWeights[t * K + j],
    })).sort((a, b) => a.expert - b.expert)
    expect(own.map((choice) => choice.expert)).toEqual(experts)
    expect(
      maxDifference(
        own.map((choice) => choice.weight),
        expected.weights[t],
      ),
    ).toBeLessThan(WEIGHTS)
  })
  const counts = new Array(layer.numExperts).fill(0)
  for (const e of expected.experts.flat()) counts[e]++
  expect([...layer.tokensPerExpert]).toEqual(counts)
}

function expectHiddenStates(
  actual: NonNullable<ReturnType<MoeModel['forward']>['trace']>['hiddenStates'] & object,
  expected: NonNullable<Golden['prompts'][0]['hidden_states']>,
): void {
  expect(maxDifference(actual.embed, expected.embed.flat())).toBeLessThan(LOGITS)
  expected.layers.forEach((layer, i) => {
    expect(maxDifference(actual.layers[i].attention, layer.attn_out.flat())).toBeLessThan(LOGITS)
    expect(maxDifference(actual.layers[i].feedForward, layer.mlp_out.flat())).toBeLessThan(LOGITS)
    expect(maxDifference(actual.layers[i].output, layer.output.flat())).toBeLessThan(LOGITS)
  })
  expect(maxDifference(actual.finalNorm, expected.final_norm.flat())).toBeLessThan(LOGITS)
}

/** Greedy decoding through the cache, one token at a time. */
function greedy(model: MoeModel, prompt: number[], count: number): number[] {
  const cache = model.createCache()
  const tokens: number[] = []
  let next = prompt
  while (tokens.length < count) {
    const best = tf.tidy(
      () => tf.argMax(model.forward(next, { cache, logits: 'last' }).logits, -1).dataSync()[0],
    )
    tokens.push(best)
    next = [best]
  }
  cache.dispose()
  return tokens
}
