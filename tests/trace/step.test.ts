import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RouterStep } from '../../src/model/router/types.ts'
import { displayWidth } from '../../src/text/columns.ts'
import type { Decision } from '../../src/trace/decision.ts'
import {
  actionOf,
  KEYS,
  moved,
  START,
  type StepAction,
  type StepState,
  screen,
} from '../../src/trace/step.ts'

/** Two layers, three tokens; decisions have three steps, those of layer 1 have four. */
const bounds = { layers: 2, tokens: 3, steps: (layer: number) => (layer === 1 ? 4 : 3) }

function place({ layer, token, step }: StepState): [layer: number, token: number, step: number] {
  return [layer, token, step]
}

function walked(...actions: StepAction[]): StepState {
  return actions.reduce((state, action) => moved(state, action, bounds), START)
}

describe('keys', () => {
  test.each<[object, StepAction | null]>([
    [{ sequence: 'n', name: 'n' }, 'next'],
    [{ sequence: '\x1b[C', name: 'right' }, 'next'],
    [{ sequence: ' ', name: 'space' }, 'next'],
    [{ sequence: 'b', name: 'b' }, 'back'],
    [{ sequence: '\x1b[D', name: 'left' }, 'back'],
    [{ sequence: 'l', name: 'l' }, 'next-layer'],
    [{ sequence: 'L', name: 'l', shift: true }, 'previous-layer'],
    [{ sequence: 't', name: 't' }, 'next-token'],
    [{ sequence: 'T', name: 't', shift: true }, 'previous-token'],
    [{ sequence: 'h', name: 'h' }, 'help'],
    [{ sequence: '?' }, 'help'],
    [{ sequence: 'q', name: 'q' }, 'quit'],
    [{ sequence: '\x03', name: 'c', ctrl: true }, 'interrupt'],
    [{ sequence: '\x0e', name: 'n', ctrl: true }, null],
    [{ sequence: 'x', name: 'x' }, null],
    [{ name: 'toString' }, null],
    [{}, null],
  ])('%j', (key, action) => {
    expect(actionOf(key)).toBe(action)
  })
})

describe('walking', () => {
  test('goes through the steps, then the layers, then the tokens, and back the same way', () => {
    const path = [START]
    for (let i = 0; i < 50; i++) {
      const next = moved(path[path.length - 1], 'next', bounds)
      if (String(place(next)) === String(place(path[path.length - 1]))) break
      path.push(next)
    }
    expect(path).toHaveLength(3 * (3 + 4)) // every step of every layer of every token, once
    expect(path.slice(0, 8).map(place)).toEqual([
      [0, 0, 0],
      [0, 0, 1],
      [0, 0, 2],
      [1, 0, 0],
      [1, 0, 1],
      [1, 0, 2],
      [1, 0, 3],
      [0, 1, 0],
    ])
    let state = path[path.length - 1]
    for (const earlier of path.toReversed().slice(1)) {
      state = moved(state, 'back', bounds)
      expect(place(state)).toEqual(place(earlier))
    }
    expect(place(moved(state, 'back', bounds))).toEqual([0, 0, 0])
  })

  test('to another layer or token stays at the same step, as far as there is one', () => {
    expect(place(walked('next', 'next-layer'))).toEqual([1, 0, 1])
    expect(place(walked('next-layer', 'next', 'next', 'next', 'previous-layer'))).toEqual([0, 0, 2])
    expect(place(walked('next', 'next-token', 'next-token', 'next-token'))).toEqual([0, 2, 1])
    expect(place(walked('previous-token', 'previous-layer'))).toEqual([0, 0, 0])
  })

  test('help covers the place and the next key gives it back', () => {
    const helped = walked('next', 'help')
    expect(helped.help).toBe(true)
    expect(moved(helped, 'help', bounds)).toEqual(walked('next'))
    expect(moved(helped, 'next', bounds)).toEqual(walked('next'))
  })

  test('never leaves the trace', () => {
    const actions = fc.constantFrom<StepAction>(
      'next',
      'back',
      'next-layer',
      'previous-layer',
      'next-token',
      'previous-token',
      'up',
      'down',
      'help',
    )
    fc.assert(
      fc.property(fc.array(actions), (list) => {
        const { layer, token, step, scroll } = walked(...list)
        expect(layer >= 0 && layer < 2 && token >= 0 && token < 3 && scroll >= 0).toBe(true)
        expect(step >= 0 && step < bounds.steps(layer)).toBe(true)
      }),
    )
  })
})

describe('screen', () => {
  const scores = Float32Array.of(0.5, 0.25, 0.125, 0.125)
  const steps: RouterStep[] = [
    {
      name: 'scores',
      formula: 's = softmax(z)',
      sentence: 'Softmax turns the logits into shares of one.',
      applies: true,
      inputs: { routerLogits: { shape: [4], data: Float32Array.of(1.5, 0.8, 0.1, -12.34567) } },
      outputs: { scores: { shape: [4], data: scores } },
    },
    {
      name: 'group-limit',
      formula: 'c = c',
      sentence: 'There are no groups.',
      applies: false,
      inputs: { compared: { shape: [4], data: scores } },
      outputs: { compared: { shape: [4], data: scores } },
    },
    {
      name: 'capacity',
      formula: 'at most 1',
      sentence: 'What is over is dropped.',
      applies: true,
      inputs: { expertIndices: { shape: [2], data: Int32Array.of(0, 1) } },
      outputs: { expertIndices: { shape: [2], data: Int32Array.of(0, -1) } },
    },
  ]
  const decision: Decision = {
    row: { sequence: 0, position: 1, token: 11 },
    layer: 0,
    steps,
    recorded: {
      expertIndices: Int32Array.of(0, -1),
      expertWeights: Float32Array.of(0.75, 0),
      margin: 0.125,
      entropy: 1.25,
    },
    agrees: true,
  }
  const view = { decision, bounds, texts: ['Once', ' upon', ' a'], width: 78, height: 14, depth: 0 } as const
  const at = (step: number, more = {}) => screen({ ...START, token: 1, step, ...more }, view)
  const trimmed = (lines: string[]) => `\n${lines.map((line) => line.trimEnd()).join('\n')}\n`

  test('a step: where, what, why, numbers, keys', () => {
    expect(trimmed(at(0))).toBe(`
layer 0, token 1 of sequence 0: 11 " upon"  (layer 1/2, token 2/3, step 1/3)
Once|[ upon]| a
[scores] > group-limit > capacity
------------------------------------------------------------------------------
1  scores           s = softmax(z)
   Softmax turns the logits into shares of one.
   expert             0       1       2       3
   z              1.5000  0.8000  0.1000   -12.3
   s              0.5000  0.2500  0.1250  0.1250




n next  b back  l/L layer  t/T token  h help  q quit
`)
  })

  test('a step that does not apply shows its values once', () => {
    expect(
      at(1)
        .slice(4, 8)
        .map((line) => line.trimEnd()),
    ).toEqual([
      '2  group-limit      does not apply',
      '   There are no groups.',
      '   expert             0       1       2       3',
      '   c              0.5000  0.2500  0.1250  0.1250',
    ])
  })

  test('the last step ends with what was recorded; what is too long scrolls', () => {
    const lines = at(2)
    expect(trimmed(lines.slice(4))).toBe(`
3  capacity         at most 1
   What is over is dropped.
   rank                0       1
   expert before       0       1
   expert after        0 dropped

recorded: expert 0 (0.7500), dropped; margin 0.1250, entropy 1.2500 nats
The steps come to the recorded decision; * marks the chosen, once chosen.

n next  b back  l/L layer  t/T token  h help  q quit
`)
    const small = screen({ ...START, token: 1, step: 2 }, { ...view, height: 9 })
    expect([small[4].trimEnd(), small[7].trimEnd()]).toEqual([
      '3  capacity         at most 1',
      '(5 more lines: down)',
    ])
    const scrolled = screen({ ...START, token: 1, step: 2, scroll: 99 }, { ...view, height: 9 })
    expect(scrolled[6]).toBe('The steps come to the recorded decision; * marks the chosen, once chosen.')
  })

  test('a decision that differs from the device is said', () => {
    const lines = screen(
      { ...START, step: 2 },
      { ...view, height: 20, decision: { ...decision, agrees: false } },
    )
    expect(lines.join('\n')).toContain('The steps come to another decision than the device')
  })

  test('help lists every key', () => {
    const text = screen({ ...START, help: true }, { ...view, width: 100 }).join('\n')
    for (const [keys, meaning] of KEYS) expect(text).toContain(`${keys.padEnd(15)}  ${meaning}`)
  })

  test('fits any terminal', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 40, max: 150 }),
        fc.integer({ min: 1, max: 40 }),
        fc.nat(2),
        fc.boolean(),
        (width, height, step, help) => {
          const lines = screen({ ...START, token: 1, step, help }, { ...view, width, height })
          expect(lines.length).toBeLessThanOrEqual(height)
          for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(width)
        },
      ),
    )
  })
})
