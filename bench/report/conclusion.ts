import type { Dispatch, Row } from '../schema.ts'
import { firstCase, type Subject, tokenSweep } from './select.ts'

/** Nearer to dense than this is called as fast: medians of a busy machine differ by a few per cent of themselves. */
const EVEN_WITHIN = 0.05

type Compared = Row & { speedup: number }

/** What the rows say of sparse against dense, in one sentence. */
export function conclude(rows: Row[], subject: Subject): string {
  const clauses = [layerClause(rows, subject), modelClause(rows, subject)].filter((clause) => clause !== null)
  if (clauses.length === 0) return 'Nothing was compared, so there is nothing to conclude.'
  const text = clauses.join('; ')
  return `${text[0].toUpperCase()}${text.slice(1)}.`
}

function layerClause(rows: Row[], subject: Subject): string | null {
  const of = (dispatch: Dispatch) => compared(tokenSweep(rows, subject, dispatch)).reverse()
  const sparse = of('sparse')
  if (sparse.length === 0) return null
  const won = sparse.filter((row) => verdictOf(row) === 'faster')
  const even = sparse.filter((row) => verdictOf(row) === 'even')
  const lost = sparse.filter((row) => verdictOf(row) === 'slower')
  if (won.length === 0) return neverFaster(sparse, lost)
  const best = fastest(won)!
  const others = won.filter((row) => row !== best)
  const gathers = of('gather')
  const parts = [
    `on one layer sparse dispatch is ${times(best)} times as fast as dense at T=${best.tokens} (ideal ${round(best.idealSpeedup)})`,
    ...others.map((row) => `${times(row)} times at T=${row.tokens}`),
    ...(even.length > 0 ? [`not clearly faster at ${sizes(even)}`] : []),
    ...(lost.length > 0 ? [`slower at ${lost.map((row) => lossOf(row, gathers)).join(', ')}`] : []),
  ]
  return joined(parts)
}

function neverFaster(sparse: Compared[], lost: Compared[]): string {
  const best = fastest(sparse)!
  const verb = lost.length === sparse.length ? 'lost to' : 'did not beat'
  return `on one layer sparse dispatch ${verb} dense at every size measured (at best ${times(best)} times as fast, at T=${best.tokens}): the ${round(best.idealSpeedup)} times fewer FLOPs of its experts did not arrive as time here`
}

/** What a loss was, and whether `gather`, which is for few tokens, did better. */
function lossOf(row: Compared, gathers: Compared[]): string {
  const gather = gathers.find(({ tokens }) => tokens === row.tokens)
  const better =
    gather && gather.speedup > row.speedup ? `, where gather is ${times(gather)} times as fast as dense` : ''
  return `T=${row.tokens} (${times(row)}${better})`
}

function modelClause(rows: Row[], { executor }: Subject): string | null {
  const best = (kind: Row['kind']) => {
    const routed = firstCase(rows, kind, executor).filter(
      ({ dispatch }) => dispatch === 'sparse' || dispatch === 'gather',
    )
    return fastest(compared(routed))
  }
  const prefill = best('prefill')
  const decode = best('decode')
  const clauses = [
    ...(prefill ? [`${described(prefill)} at reading a prompt of ${prefill.tokens} tokens`] : []),
    ...(decode ? [`${described(decode)} at writing token by token`] : []),
  ]
  return clauses.length > 0 ? `the whole model against dense is ${joined(clauses)}` : null
}

function described(row: Compared): string {
  const ideal = `ideal ${round(row.idealSpeedup)}`
  return verdictOf(row) === 'even'
    ? `not clearly faster (${row.dispatch} ${times(row)} times, ${ideal})`
    : `${times(row)} times as fast (${row.dispatch}, ${ideal})`
}

function fastest(rows: Compared[]): Compared | undefined {
  return [...rows].sort((a, b) => b.speedup - a.speedup)[0]
}

function compared(rows: Row[]): Compared[] {
  return rows.filter((row): row is Compared => row.speedup !== null)
}

/** Even, too, when the interval cannot tell which side it is on. */
function verdictOf({ speedup, speedupLow, speedupHigh }: Compared): 'faster' | 'even' | 'slower' {
  const undecided = speedupLow !== null && speedupHigh !== null && speedupLow <= 1 && speedupHigh >= 1
  if (undecided || Math.abs(speedup - 1) <= EVEN_WITHIN) return 'even'
  return speedup > 1 ? 'faster' : 'slower'
}

function sizes(rows: Row[]): string {
  return rows.map(({ tokens }) => `T=${tokens}`).join(', ')
}

function times({ speedup }: Compared): string {
  return speedup.toFixed(speedup < 1 ? 2 : 1)
}

function round(value: number): string {
  return String(Number(value.toFixed(1)))
}

function joined(parts: string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`
}
