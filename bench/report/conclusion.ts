import { greatest } from 'd3-array'
import type { Row } from '../schema.ts'
import { capitalised, listed } from './format.ts'
import {
  allowedAmong,
  type ComparedRow,
  firstCase,
  heldRows,
  isCompared,
  type Subject,
  tokenSweep,
  widestOf,
} from './select.ts'

/** Nearer to dense than this is called as fast: medians of a busy machine differ by a few per cent of themselves. */
const EVEN_WITHIN = 0.05
/** Of the ideal: what is allowed is said where it is less than this. */
const MUCH_LESS = 0.75

/** What the rows say of sparse against dense, in one sentence. */
export function conclude(rows: Row[], subject: Subject): string {
  const clauses = [
    ...layerClause(rows, subject),
    ...allowedClause(rows, subject),
    ...modelClause(rows, subject),
    ...widthClause(rows),
  ]
  if (clauses.length === 0) return 'Nothing was compared, so there is nothing to conclude.'
  return `${capitalised(clauses.join('; '))}.`
}

/** The most tokens first. */
function layerClause(rows: Row[], subject: Subject): string[] {
  const sparse = tokenSweep(rows, subject, 'sparse').filter(isCompared).reverse()
  const those = (verdict: Verdict) => sparse.filter((row) => verdictOf(row) === verdict)
  const [won, even, lost] = [those('faster'), those('even'), those('slower')]
  const best = greatest(won.length > 0 ? won : sparse, ({ speedup }) => speedup)
  if (!best) return []
  const at = ({ tokens }: Row) => `T=${tokens}`
  if (won.length === 0) {
    const verb = lost.length === sparse.length ? 'lost to' : 'did not beat'
    return [
      `on one layer sparse dispatch ${verb} dense at every size measured (at best ${times(best)} times as fast, at ${at(best)}): the ${idealOf(best)} times fewer FLOPs of its experts did not arrive as time here`,
    ]
  }
  const others = won.filter((row) => row !== best)
  return [
    listed([
      `on one layer sparse dispatch is ${times(best)} times as fast as dense at ${at(best)} (ideal ${idealOf(best)})`,
      ...others.map((row) => `${times(row)} times at ${at(row)}`),
      ...(even.length > 0 ? [`not clearly faster at ${even.map(at).join(', ')}`] : []),
      ...(lost.length > 0 ? [`slower at ${lost.map((row) => `${at(row)} (${times(row)})`).join(', ')}`] : []),
    ]),
  ]
}

/** Where the machine allows much less than the ideal, whatever is done. */
function allowedClause(rows: Row[], subject: Subject): string[] {
  const places = tokenSweep(rows, subject, 'sparse')
    .filter(isCompared)
    .flatMap((row) => {
      const allowed = allowedAmong(rows, row, subject.machine)
      if (allowed === null || allowed >= MUCH_LESS * row.idealSpeedup) return []
      const read = row.spread
        ? `, as ${row.spread.expertsTouched[0]} of ${subject.dims.E} experts have to be read`
        : ''
      return [`${allowed.toFixed(1)} times at T=${row.tokens}${read}`]
    })
  return places.length > 0 ? [`the machine allows only ${listed(places)}`] : []
}

function modelClause(rows: Row[], { executor }: Subject): string[] {
  const best = (kind: Row['kind'], words: (row: Row) => string) => {
    const routed = firstCase(rows, kind, executor).filter(({ dispatch }) =>
      /^(sparse|gather)$/.test(dispatch),
    )
    const row = greatest(routed.filter(isCompared), ({ speedup }) => speedup)
    return row ? [`${described(row)} at ${words(row)}`] : []
  }
  const clauses = [
    ...best('prefill', ({ tokens }) => `reading a prompt of ${tokens} tokens`),
    ...best('decode', () => 'writing token by token'),
  ]
  return clauses.length > 0 ? [`the whole model against dense is ${listed(clauses)}`] : []
}

/** The narrowest against the widest. */
function widthClause(rows: Row[]): string[] {
  const held = heldRows(rows).filter(({ dispatch }) => dispatch === 'sparse')
  const narrowest = held.at(-1)
  const widest = narrowest && widestOf(narrowest, held)
  if (!widest || widest === narrowest) return []
  const gain = widest.medianMs / narrowest.medianMs
  const speed =
    Math.abs(gain - 1) <= EVEN_WITHIN ? 'as fast as' : `${times({ speedup: gain })} times as fast as`
  const lost =
    narrowest.loss === null || widest.loss === null
      ? ''
      : `, ${(narrowest.loss - widest.loss).toFixed(4)} nats more`
  return [`the model held in ${narrowest.held} writes a token ${speed} in ${widest.held} (sparse${lost})`]
}

function described(row: ComparedRow): string {
  const ideal = `ideal ${idealOf(row)}`
  return verdictOf(row) === 'even'
    ? `not clearly faster (${row.dispatch} ${times(row)} times, ${ideal})`
    : `${times(row)} times as fast (${row.dispatch}, ${ideal})`
}

type Verdict = 'faster' | 'even' | 'slower'

/** Even, too, when the interval cannot tell which side it is on. */
function verdictOf({ speedup, speedupLow, speedupHigh }: ComparedRow): Verdict {
  const undecided = speedupLow !== null && speedupHigh !== null && speedupLow <= 1 && speedupHigh >= 1
  if (undecided || Math.abs(speedup - 1) <= EVEN_WITHIN) return 'even'
  return speedup > 1 ? 'faster' : 'slower'
}

function times({ speedup }: Pick<ComparedRow, 'speedup'>): string {
  return speedup.toFixed(speedup < 1 ? 2 : 1)
}

function idealOf({ idealSpeedup }: Row): string {
  return String(Number(idealSpeedup.toFixed(1)))
}
