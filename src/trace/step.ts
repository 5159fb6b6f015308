import { fitted, wrapped } from '../text/columns.ts'
import { quoted } from '../text/foreign.ts'
import { bold, type ColourDepth, dim } from './ansi.ts'
import type { Decision } from './decision.ts'
import { decisionTitle, recordedLines, stepLines } from './decision-text.ts'

/** Where someone stands who walks through a trace. All numbers are indices from 0. */
export interface StepState {
  layer: number
  token: number
  step: number
  /** First line of the step that is shown, for steps longer than the screen. */
  scroll: number
  help: boolean
}

/** How far one can walk. */
export interface StepBounds {
  layers: number
  tokens: number
  /** Steps of a decision; interventions add some. */
  steps(layer: number, token: number): number
}

export const START: StepState = { layer: 0, token: 0, step: 0, scroll: 0, help: false }

/** Keys as Node's readline names them: a letter as typed, else the key's name. */
const ACTIONS = {
  n: 'next',
  right: 'next',
  space: 'next',
  b: 'back',
  left: 'back',
  l: 'next-layer',
  L: 'previous-layer',
  t: 'next-token',
  T: 'previous-token',
  down: 'down',
  up: 'up',
  h: 'help',
  '?': 'help',
  q: 'quit',
} as const
export type StepAction = (typeof ACTIONS)[keyof typeof ACTIONS] | 'interrupt'

export const KEYS: readonly [keys: string, meaning: string][] = [
  ['n, right, space', 'next step; after the last one the next layer, then the next token'],
  ['b, left', 'back'],
  ['l / L', 'next / previous layer'],
  ['t / T', 'next / previous token'],
  ['down / up', 'scroll a step that is longer than the screen'],
  ['h, ?', 'these keys, and back'],
  ['q, Ctrl-C', 'quit'],
]

/** What a key press means; null for any other key. */
export function actionOf(key: { sequence?: string; name?: string; ctrl?: boolean }): StepAction | null {
  if (key.ctrl) return key.name === 'c' ? 'interrupt' : null
  const known = [key.sequence, key.name].find((name) => name !== undefined && Object.hasOwn(ACTIONS, name))
  return known === undefined ? null : ACTIONS[known as keyof typeof ACTIONS]
}

/** The state after an action; at either end of the trace it stays. Quitting is not a state. */
export function moved(state: StepState, action: StepAction, bounds: StepBounds): StepState {
  if (action === 'help') return { ...state, help: !state.help }
  if (state.help) return { ...state, help: false }
  return MOVES[action]?.(state, bounds) ?? state
}

const MOVES: Partial<Record<StepAction, (state: StepState, bounds: StepBounds) => StepState>> = {
  next: nextStep,
  back: previousStep,
  'next-layer': (s, bounds) => at(Math.min(s.layer + 1, bounds.layers - 1), s.token, s.step, bounds),
  'previous-layer': (s, bounds) => at(Math.max(s.layer - 1, 0), s.token, s.step, bounds),
  'next-token': (s, bounds) => at(s.layer, Math.min(s.token + 1, bounds.tokens - 1), s.step, bounds),
  'previous-token': (s, bounds) => at(s.layer, Math.max(s.token - 1, 0), s.step, bounds),
  down: (s) => ({ ...s, scroll: s.scroll + 1 }),
  up: (s) => ({ ...s, scroll: Math.max(0, s.scroll - 1) }),
}

/** A place, with the step cut to those that there are. */
function at(layer: number, token: number, step: number, bounds: StepBounds): StepState {
  return { ...START, layer, token, step: Math.min(step, bounds.steps(layer, token) - 1) }
}

function nextStep({ layer, token, step, ...rest }: StepState, bounds: StepBounds): StepState {
  if (step + 1 < bounds.steps(layer, token)) return at(layer, token, step + 1, bounds)
  if (layer + 1 < bounds.layers) return at(layer + 1, token, 0, bounds)
  if (token + 1 < bounds.tokens) return at(0, token + 1, 0, bounds)
  return { layer, token, step, ...rest }
}

function previousStep({ layer, token, step, ...rest }: StepState, bounds: StepBounds): StepState {
  if (step > 0) return at(layer, token, step - 1, bounds)
  if (layer > 0) return at(layer - 1, token, Number.POSITIVE_INFINITY, bounds)
  if (token > 0) return at(bounds.layers - 1, token - 1, Number.POSITIVE_INFINITY, bounds)
  return { layer, token, step, ...rest }
}

/** What a screen shows beside the state. */
export interface StepView {
  decision: Decision
  bounds: StepBounds
  /** Texts of all tokens, or null. */
  texts: readonly string[] | null
  width: number
  height: number
  depth: ColourDepth
}

/** The screen as at most `height` lines. */
export function screen(state: StepState, view: StepView): string[] {
  const { width, height, depth } = view
  const { head, body, room } = partsOf(state, view)
  const first = scrolledWithin(state, view).scroll
  const shown = body.slice(first, first + room)
  const rest = body.length - first - shown.length
  const more = rest > 0 ? dim(fitted(`(${rest} more lines: down)`, width), depth) : ''
  const fill = Array.from({ length: room - shown.length }, () => '')
  const footer = dim(fitted('n next  b back  l/L layer  t/T token  h help  q quit', width), depth)
  return [...head, ...shown, ...fill, more, footer].slice(0, height)
}

/** The state scrolled no further than its last line, so that the next key up is seen. */
export function scrolledWithin(state: StepState, view: StepView): StepState {
  const { body, room } = partsOf(state, view)
  return { ...state, scroll: Math.min(state.scroll, Math.max(0, body.length - room)) }
}

function partsOf(state: StepState, view: StepView) {
  const head = headLines(state, view)
  const body = state.help ? helpLines(view.width) : bodyLines(state, view)
  return { head, body, room: Math.max(1, view.height - head.length - 2) }
}

function headLines({ layer, token, step }: StepState, view: StepView): string[] {
  const { decision, bounds, texts, width, depth } = view
  const place = `(layer ${layer + 1}/${bounds.layers}, token ${token + 1}/${bounds.tokens}, step ${step + 1}/${decision.steps.length})`
  const title = decisionTitle(decision, texts?.[token] ?? null)
  const names = decision.steps.map(({ name }, i) => (i === step ? `[${name}]` : name))
  return [
    bold(fitted(`${title}  ${place}`, width), depth),
    ...(texts ? [fitted(around(texts, token), width)] : []),
    ...wrapped(names.join(' > '), width),
    dim('-'.repeat(width), depth),
  ]
}

/** Some tokens before and after one, which stands in brackets. */
function around(texts: readonly string[], token: number): string {
  const from = Math.max(0, token - 4)
  const shown = texts.slice(from, token + 12).map((text, i) => {
    const inside = quoted(text).slice(1, -1)
    return from + i === token ? `[${inside}]` : inside
  })
  return `${from > 0 ? '… ' : ''}${shown.join('|')}`
}

function bodyLines({ step }: StepState, { decision, ...options }: StepView): string[] {
  const isLast = step === decision.steps.length - 1
  return [
    ...stepLines(decision, decision.steps[step], step, options),
    ...(isLast ? ['', ...recordedLines(decision, options)] : []),
  ]
}

function helpLines(width: number): string[] {
  const keyWidth = Math.max(...KEYS.map(([keys]) => keys.length))
  return KEYS.flatMap(([keys, meaning]) =>
    wrapped(meaning, width - keyWidth - 2).map(
      (line, i) => `${(i === 0 ? keys : '').padEnd(keyWidth)}  ${line}`,
    ),
  )
}
