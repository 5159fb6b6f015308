import { expect, test } from 'vitest'
import { parametersLines } from '../../src/cli/trace-parameters.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { readConfig } from '../../src/load-model.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import { parametersUsed } from '../../src/trace/parameters.ts'
import { layerOf, rowsOf } from './traces.ts'

/** Two tokens of models/deepseek, whose first layer is dense: 16 experts, three a token; one assignment is dropped. */
function deepseekTrace(): RoutingTrace {
  const scores = [0, 1].map(() => new Array(16).fill(1 / 16))
  const layers = [1, 2, 3].map((layer) =>
    layerOf({ layer, scores, experts: [[9, 1, 15], layer === 2 ? [-1, 3, 0] : [3, 0, 2]] }),
  )
  return { rows: rowsOf(2), layers, hiddenStates: null }
}

test('a token uses what the model counts as active; one whose assignment was dropped an expert less', () => {
  const { config } = readConfig('models/deepseek')
  const { total, active } = countParameters(config)
  const used = parametersUsed(config, deepseekTrace())
  const expert = 3 * 128 * 128 // gate, up and down
  expect(used.total).toBe(total)
  expect(used.active).toEqual([active, active - expert])
  expect(used.expert).toEqual([expert, expert, expert])
  expect(used.experts[0][0]).toEqual([1, 9, 15])
  expect(used.experts[1][1]).toEqual([0, 3])
  const always = Object.values(used.always).reduce((a, b) => a + b, 0)
  expect(always + 9 * expert).toBe(active)
})

test('is said a line a token, then what all have in common', () => {
  const { config } = readConfig('models/deepseek')
  const options = { width: 200, dense: false }
  expect(parametersLines(config, deepseekTrace(), ['+', '\x1b[2J'], options)).toEqual([
    'parameters that ran',
    'token 0 "+": 1.237M of 3.153M: layer 1 experts 1, 9, 15; 2: 1, 9, 15; 3: 1, 9, 15',
    'token 1 "\\u{1b}[2J": 1.187M of 3.153M: layer 1 experts 0, 2, 3; 2: 0, 3; 3: 0, 2, 3',
    'always: attention 180.2K, router 6.192K, shared experts 147.5K, dense layers 196.6K, norms 1.536K, embedding 131.1K, unembedding 131.1K; an expert has 49.15K',
  ])
})

test('a mixture without shared experts has none; dense dispatch says that it ran all; lines fit', () => {
  const { config } = readConfig('models/moe')
  const layer = layerOf({ scores: [new Array(8).fill(1 / 8)], experts: [[5, 7]] })
  const trace = {
    rows: rowsOf(1),
    layers: [0, 1, 2, 3].map((l) => ({ ...layer, layer: l })),
    hiddenStates: null,
  }
  const lines = parametersLines(config, trace, null, { width: 60, dense: true })
  expect(lines.slice(0, 4)).toEqual([
    'parameters of the chosen experts (--dispatch dense ran all',
    '3.610M for every token)',
    'token 0: 1.250M of 3.610M: layer 0 experts 5, 7; 1: 5,',
    '    7; 2: 5, 7; 3: 5, 7',
  ])
  expect(lines.join(' ')).not.toContain('shared')
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(60)
})
