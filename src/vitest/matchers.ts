import { assertObject, shown } from '../checks.ts'
import { InputError } from '../errors.ts'
import type { LayerTrace, RoutingTrace } from '../model/trace.ts'
import { mean, sum } from '../sums.ts'
import { table } from '../text/columns.ts'
import { chosenExperts, maxViolation } from '../trace/statistics.ts'
import { assertToken, onlyLayer, type Subject, subjectOf, tokenName } from './subject.ts'

/** What `expect(trace)` and `expect(trace.layers[i])` can say. `token` is a row of the trace. */
export interface TraceMatchers {
  /** The router sends the token to these experts, in any order. A trace of several layers needs `layer`. */
  toChooseExperts(token: number, experts: readonly number[], options?: { layer?: number }): void
  /** In each layer the busiest expert has at most (1 + maxViolation) times the mean load. */
  toBeBalanced(options: { maxViolation: number }): void
  /** In each layer every expert gets a token. */
  toUseEveryExpert(): void
  /** No assignment was dropped by a capacity limit. */
  toDropNothing(): void
  /** At least this share (default: all) of the chosen experts are those of another trace of the same tokens. */
  toAgreeWith(other: RoutingTrace | LayerTrace, options?: { atLeast?: number }): void
  /** The worst of the token's chosen experts beats the best of the others by more than this, in each layer or in `layer`. */
  toHaveMargin(token: number, options: { above: number; layer?: number }): void
}

interface Outcome {
  pass: boolean
  message: () => string
}

/** Experts or tokens that a message shows at most. */
const SHOWN = 5

export function toChooseExperts(
  received: unknown,
  token: number,
  experts: readonly number[],
  options: { layer?: number } = {},
): Outcome {
  const name = 'toChooseExperts'
  assertObject(`${name}: options`, options, '{ layer }')
  const subject = subjectOf(name, received, options.layer)
  const layer = onlyLayer(name, subject)
  assertToken(name, token, layer)
  checkExperts(name, experts, layer)
  const chosen = chosenExperts(layer, token)
  const pass = chosen.length === experts.length && experts.every((e) => chosen.includes(e))
  const place = `${tokenName(token, subject)} ${pass ? 'not ' : ''}to choose ${experts.length > 0 ? `experts ${listOf(experts)}` : 'no expert'} in layer ${layer.layer}`
  return {
    pass,
    message: () =>
      `expected ${place}, and it chooses ${listOf(chosen)}\n\n${expertTable(layer, token, experts)}`,
  }
}

export function toBeBalanced(received: unknown, options: { maxViolation: number }): Outcome {
  const limit = numberOf('toBeBalanced', options, 'maxViolation', 0)
  const { layers } = subjectOf('toBeBalanced', received)
  const [worst] = [...layers].sort((a, b) => maxViolation(b) - maxViolation(a))
  const most = maxViolation(worst)
  const pass = most <= limit
  return {
    pass,
    message: () => {
      const expected = `${pass ? 'more than' : 'at most'} ${short(1 + limit)} times the mean load (maxViolation ${limit})`
      const busiest = worst.tokensPerExpert.indexOf(Math.max(...worst.tokensPerExpert))
      const has = `expert ${busiest} of layer ${worst.layer} has ${short(1 + most)} times`
      return `expected the busiest expert to have ${expected}, and ${has}\n\n${loadTable(worst, limit)}`
    },
  }
}

export function toUseEveryExpert(received: unknown): Outcome {
  const { layers } = subjectOf('toUseEveryExpert', received)
  const idle = layers.filter(({ tokensPerExpert }) => tokensPerExpert.includes(0))
  const pass = idle.length === 0
  return {
    pass,
    message: () => {
      if (pass) {
        const fewest = layers.map(({ layer, tokensPerExpert }) => ({
          layer,
          tokensPerExpert,
          least: Math.min(...tokensPerExpert),
        }))
        const [{ layer, tokensPerExpert, least }] = fewest.sort((a, b) => a.least - b.least)
        return `expected some expert to get no token, and every one gets some: the least, expert ${tokensPerExpert.indexOf(least)} of layer ${layer}, gets ${least}`
      }
      const lines = idle.map(({ layer, numExperts, tokensPerExpert }) => {
        const unused = [...tokensPerExpert.keys()].filter((e) => tokensPerExpert[e] === 0)
        return `layer ${layer}: ${unused.length} of ${numExperts} get none: ${listOf(unused)}`
      })
      return `expected every expert to get a token, and some get none\n\n${some(lines, 'layers')}`
    },
  }
}

export function toDropNothing(received: unknown): Outcome {
  const subject = subjectOf('toDropNothing', received)
  const decisions = subject.layers.flatMap((layer) =>
    tokensOf(layer).map((t) => ({ t, layer, kept: chosenExperts(layer, t) })),
  )
  const drops = decisions
    .map(({ layer, kept, ...rest }) => ({ ...rest, layer, kept, lost: layer.topK - kept.length }))
    .filter(({ lost }) => lost > 0)
  const pass = drops.length === 0
  return {
    pass,
    message: () => {
      const assignments = sum(decisions.map(({ layer }) => layer.topK))
      if (pass) return `expected assignments to be dropped, and none of ${assignments} is`
      const lines = drops.map(
        ({ t, layer, kept, lost }) =>
          `layer ${layer.layer}: ${tokenName(t, subject)} keeps ${listOf(kept)} and loses ${lost} of ${layer.topK}`,
      )
      return `expected no assignment to be dropped, and ${sum(drops.map(({ lost }) => lost))} of ${assignments} are\n\n${some(lines, 'tokens')}`
    },
  }
}

export function toAgreeWith(
  received: unknown,
  other: RoutingTrace | LayerTrace,
  options: { atLeast?: number } = {},
): Outcome {
  const name = 'toAgreeWith'
  const least = numberOf(name, { atLeast: 1, ...options }, 'atLeast', 0, 1)
  const subject = subjectOf(name, received)
  const pairs = pairsOf(name, subject, subjectOf(`${name}: other`, other))
  const decisions = pairs.flatMap(([layer, theirs]) =>
    tokensOf(layer).map((t) => {
      const [own, others] = [chosenExperts(layer, t), chosenExperts(theirs, t)]
      const same = own.filter((e) => others.includes(e)).length
      return {
        of: Math.max(own.length, others.length),
        same,
        text: `layer ${layer.layer}: ${tokenName(t, subject)} chooses ${listOf(own)}, there ${listOf(others)}`,
      }
    }),
  )
  const [same, of] = [sum(decisions.map((d) => d.same)), sum(decisions.map((d) => d.of))]
  const share = of === 0 ? 1 : same / of
  const pass = share >= least
  const different = decisions.filter((d) => d.same < d.of).map(({ text }) => text)
  return {
    pass,
    message: () =>
      `expected ${pass ? 'fewer than' : 'at least'} ${least} of the choices to be those of the other trace, and ${short(share)} are (${same} of ${of})${different.length > 0 ? `\n\n${some(different, 'decisions')}` : ''}`,
  }
}

export function toHaveMargin(
  received: unknown,
  token: number,
  options: { above: number; layer?: number },
): Outcome {
  const name = 'toHaveMargin'
  const above = numberOf(name, options, 'above', 0)
  const subject = subjectOf(name, received, options.layer)
  assertToken(name, token, subject.layers[0])
  // Without a margin there is nobody who could be chosen instead.
  const margin = ({ margins }: LayerTrace) => margins[token] ?? Number.POSITIVE_INFINITY
  const [closest] = [...subject.layers].sort((a, b) => margin(a) - margin(b))
  const least = margin(closest)
  const pass = least > above
  const has = least === Number.POSITIVE_INFINITY ? 'nobody else can be chosen' : `it is ${short(least)}`
  return {
    pass,
    message: () =>
      `expected the margin of ${tokenName(token, subject)} to be ${pass ? 'at most' : 'above'} ${above}, and ${has} in layer ${closest.layer}\n\n${expertTable(closest, token, [])}`,
  }
}

/** The experts that a decision is about: the chosen, the expected, and the best of the rest, by what the router compared. */
function expertTable(layer: LayerTrace, t: number, expected: readonly number[]): string {
  const { numExperts: E, topK: K, scores, compared = scores, expertIndices, expertWeights } = layer
  const ranked = [...expertIndices.subarray(t * K, (t + 1) * K)]
  const chosen = ranked.filter((e) => e >= 0)
  const value = (e: number) => compared[t * E + e]
  const [next] = Array.from({ length: E }, (_, e) => e)
    .filter((e) => !chosen.includes(e) && !expected.includes(e) && Number.isFinite(value(e)))
    .sort((a, b) => value(b) - value(a))
  const experts = [
    ...chosen,
    ...expected.filter((e) => !chosen.includes(e)),
    ...(next === undefined ? [] : [next]),
  ]
  const biased = compared !== scores
  const best = biased ? 'best of the rest, as compared' : 'best score of the rest'
  const rows = experts.map((e) => {
    const weight = chosen.includes(e) ? expertWeights[t * K + ranked.indexOf(e)].toFixed(3) : '-'
    const remark = expected.includes(e) ? 'expected' : chosen.includes(e) ? 'chosen' : best
    const values = [scores, ...(biased ? [compared] : [])]
    return [String(e), ...values.map((of) => of[t * E + e].toFixed(3)), weight, remark]
  })
  const heading = ['expert', 'score', ...(biased ? ['compared'] : []), 'weight', '']
  return table([heading, ...rows], [heading.length - 1]).trimEnd()
}

/** Those above the limit, or the busiest one; and the least busy one. */
function loadTable({ tokensPerExpert }: LayerTrace, maxViolation: number): string {
  const average = mean([...tokensPerExpert])
  const limit = (1 + maxViolation) * average
  const byLoad = [...tokensPerExpert.keys()].sort((a, b) => tokensPerExpert[b] - tokensPerExpert[a] || a - b)
  const over = byLoad.filter((e) => tokensPerExpert[e] > limit)
  const busiest = over.length > 0 ? over : byLoad.slice(0, 1)
  const least = byLoad[byLoad.length - 1]
  const experts = [...busiest.slice(0, SHOWN), ...(busiest.includes(least) ? [] : [least])]
  const heading = [['expert', 'tokens']]
  const rows = experts.map((e) => [String(e), String(tokensPerExpert[e])])
  const more = busiest.length > SHOWN ? `, ${busiest.length - SHOWN} more above the limit` : ''
  return `${table([...heading, ...rows])}on average ${short(average)}${more}`
}

/** Layers of both by number; they must be of the same tokens. */
function pairsOf(name: string, own: Subject, other: Subject): [LayerTrace, LayerTrace][] {
  return own.layers.map((layer) => {
    const theirs = other.layers.find((l) => l.layer === layer.layer)
    if (!theirs || other.layers.length !== own.layers.length) {
      const numbers = ({ layers }: Subject) => layers.map((l) => l.layer).join(', ')
      throw new InputError(
        `${name}: the other trace has layers ${numbers(other)}, expected ${numbers(own)} as in this one`,
      )
    }
    const [T, others] = [layer.margins.length, theirs.margins.length]
    if (T !== others) {
      throw new InputError(`${name}: the other trace has ${others} tokens, expected ${T} as in this one`)
    }
    return [layer, theirs]
  })
}

function checkExperts(name: string, experts: unknown, { numExperts: E, topK: K }: LayerTrace): void {
  const isExpert = (e: unknown) => Number.isInteger(e) && (e as number) >= 0 && (e as number) < E
  const isList = Array.isArray(experts) && experts.every(isExpert) && new Set(experts).size === experts.length
  if (isList && experts.length <= K) return
  throw new InputError(
    `${name}: experts are ${shown(experts)}, expected up to ${K} different ones from 0 to ${E - 1}`,
  )
}

function numberOf(
  matcher: string,
  options: object,
  option: string,
  min: number,
  max = Number.POSITIVE_INFINITY,
): number {
  assertObject(`${matcher}: options`, options, `{ ${option} }`)
  const value = (options as Record<string, unknown>)[option]
  if (typeof value === 'number' && value >= min && value <= max) return value
  const range = max === Number.POSITIVE_INFINITY ? `from ${min}` : `from ${min} to ${max}`
  throw new InputError(`${matcher}: ${option} is ${shown(value)}, expected a number ${range}`)
}

function tokensOf({ margins }: LayerTrace): number[] {
  return [...margins.keys()]
}

function listOf(experts: readonly number[]): string {
  return experts.length > 0 ? experts.join(', ') : 'none'
}

/** The first lines, and how many more there are. */
function some(lines: string[], what: string): string {
  const more = lines.length > SHOWN ? [`and ${lines.length - SHOWN} more ${what}`] : []
  return [...lines.slice(0, SHOWN), ...more].join('\n')
}

function short(value: number): string {
  return String(Number(value.toFixed(3)))
}
