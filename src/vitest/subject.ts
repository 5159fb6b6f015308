import { assertWhole, shown } from '../checks.ts'
import { InputError } from '../errors.ts'
import type { LayerTrace, RoutingTrace, TraceRow } from '../model/trace.ts'

/** What a matcher is given: some layers of one trace, and its rows where they are known. */
export interface Subject {
  layers: LayerTrace[]
  /** Null for a layer by itself, which knows only how many tokens there were. */
  rows: readonly TraceRow[] | null
}

export function isTrace(value: unknown): value is RoutingTrace {
  const { rows, layers } = (value ?? {}) as Partial<RoutingTrace>
  return Array.isArray(rows) && Array.isArray(layers) && layers.every(isLayer)
}

function isLayer(value: unknown): value is LayerTrace {
  const { routerLogits, expertIndices, margins } = (value ?? {}) as Partial<LayerTrace>
  return routerLogits instanceof Float32Array && expertIndices instanceof Int32Array && Array.isArray(margins)
}

/**
 * The layers that a matcher is about: those of a trace, or of them the one with this number, or the layer that was given.
 * @throws InputError for anything else
 */
export function subjectOf(matcher: string, received: unknown, layer?: number): Subject {
  if (isLayer(received)) {
    if (layer !== undefined && layer !== received.layer) {
      throw new InputError(
        `${matcher}: layer is ${shown(layer)}, and expect was given layer ${received.layer}`,
      )
    }
    return { layers: [received], rows: null }
  }
  if (!isTrace(received)) {
    throw new InputError(
      `${matcher}: expect was given ${shown(received)}, expected the trace of forward(tokens, { trace: true }) or one of its layers`,
    )
  }
  const numbers = received.layers.map((l) => l.layer)
  if (numbers.length === 0)
    throw new InputError(`${matcher}: every layer of the trace is dense, so none has a router`)
  const layers = received.layers.filter((l) => layer === undefined || l.layer === layer)
  if (layers.length === 0) {
    throw new InputError(
      `${matcher}: the trace has no layer ${shown(layer)}, expected one of ${numbers.join(', ')}`,
    )
  }
  return { layers, rows: received.rows }
}

/** The one layer that a matcher about one decision needs. */
export function onlyLayer(matcher: string, { layers }: Subject): LayerTrace {
  if (layers.length === 1) return layers[0]
  const numbers = layers.map((l) => l.layer).join(', ')
  throw new InputError(
    `${matcher}: the trace has layers ${numbers}, expected one of them: { layer: ${layers[0].layer} }, or expect(trace.layers[0])`,
  )
}

/** @throws InputError for a token that the trace has not */
export function assertToken(
  matcher: string,
  token: unknown,
  { margins }: LayerTrace,
): asserts token is number {
  assertWhole(`${matcher}: token`, token, 0, margins.length - 1)
}

/** `token 2 (id 80)`, with its place where that is another one. */
export function tokenName(token: number, { rows }: Subject): string {
  if (!rows) return `token ${token}`
  const { sequence, position, token: id } = rows[token]
  const place = position === token && sequence === 0 ? '' : `position ${position} of sequence ${sequence}, `
  return `token ${token} (${place}id ${id})`
}
