import { InputError, messageOf } from '../errors.ts'
import { checkForm } from '../model/router/check-interventions.ts'
import { countTokens } from '../model/router/route.ts'
import type { Interventions, RouterStep } from '../model/router/types.ts'
import { rowsOf } from '../model/rows.ts'
import type { LayerTrace, RoutingTrace } from '../model/trace.ts'
import { mapLeaves, mapValues } from '../model/tree.ts'
import { sum } from '../sums.ts'
import { excerpt, placeIn } from '../text/foreign.ts'
import { exactJson, parseJson } from '../text/json.ts'
import { nineDigits } from '../text/number.ts'
import type { Decision } from './decision.ts'
import { type NumberJson, TRACE_VERSION, type TraceJson, traceSchema } from './schema.ts'
import { layerStatistics } from './statistics.ts'

/** A trace as JSON text that reads back as the same numbers, bit by bit. `texts` are what the tokens stand for, one a row. */
export function traceToJson(trace: RoutingTrace, texts: readonly string[] | null = null): string {
  const { rows, layers, hiddenStates, interventions, callLengths } = trace
  return exactJson({
    format: 'tinymoe-trace',
    version: TRACE_VERSION,
    rows: rows.map(({ sequence, position, token }, t) => ({
      sequence,
      position,
      token,
      text: texts?.[t] ?? null,
    })),
    interventions: interventions && withoutTrace(interventions),
    callLengths,
    layers: layers.map((layer) => layerToJson(layer, trace)),
    hiddenStates: mapLeaves<Float32Array>(hiddenStates, (values) =>
      rowsOf(values, values.length / rows.length),
    ),
  })
}

/** One decision with its steps, values [E] or [K] by name. */
export function decisionToJson(decision: Decision, text: string | null): string {
  const { row, layer, steps, recorded, agrees } = decision
  const values = (of: RouterStep['inputs']) => mapValues(of, ({ data }) => data)
  const entropy = nineDigits(recorded.entropy)
  const stepsJson = steps.map((step) => ({
    ...step,
    inputs: values(step.inputs),
    outputs: values(step.outputs),
  }))
  return exactJson({ layer, ...row, text, ...recorded, entropy, agrees, steps: stepsJson })
}

/**
 * The trace of such a text, and its tokens' texts if every token has one. Statistics in it are not read: they follow from
 * the rest. `source` names the text in errors, such as its file.
 * @throws InputError naming the place and what was expected there
 */
export function traceFromJson(
  json: string,
  source = 'trace',
): { trace: RoutingTrace; texts: string[] | null } {
  const read = parsed(json, source)
  checkWhole(read, source)
  const { rows, layers, hiddenStates, interventions, callLengths } = read
  const texts = rows.map(({ text }) => text).filter((text) => text !== null)
  const trace: RoutingTrace = {
    rows: rows.map(({ sequence, position, token }) => ({ sequence, position, token })),
    layers: layers.map(layerFromJson),
    hiddenStates: hiddenStates && {
      embed: floats(hiddenStates.embed),
      layers: hiddenStates.layers.map(({ attention, feedForward, output }) => ({
        attention: floats(attention),
        feedForward: floats(feedForward),
        output: floats(output),
      })),
      finalNorm: floats(hiddenStates.finalNorm),
    },
    ...(callLengths ? { callLengths } : {}),
  }
  if (interventions) trace.interventions = interventionsFromJson(interventions, trace, source)
  return { trace, texts: texts.length === rows.length ? texts : null }
}

/** Without a replayed trace's own numbers: the decisions in this trace are the same. */
function withoutTrace({ replace, ...rest }: Interventions): object {
  return { ...rest, ...(replace ? { replace: { ...replace, trace: undefined } } : {}) }
}

/** A replay left its trace out: this one recorded the same decisions. */
function interventionsFromJson(json: object, trace: RoutingTrace, source: string): Interventions {
  const interventions = json as Interventions
  if (interventions.replace?.by === 'trace') interventions.replace = { by: 'trace', trace }
  try {
    checkForm(interventions)
  } catch (error) {
    throw new InputError(`${source}: ${messageOf(error)}`)
  }
  return interventions
}

function layerToJson(layer: LayerTrace, { rows }: RoutingTrace): object {
  const { numExperts: E, topK: K, compared } = layer
  const { layer: number, ...statistics } = layerStatistics(layer, rows)
  return {
    layer: number,
    numExperts: E,
    topK: K,
    routerLogits: rowsOf(layer.routerLogits, E),
    scores: rowsOf(layer.scores, E),
    compared: compared && rowsOf(compared, E),
    expertIndices: rowsOf(layer.expertIndices, K),
    expertWeights: rowsOf(layer.expertWeights, K),
    tokensPerExpert: layer.tokensPerExpert,
    margins: layer.margins,
    entropies: layer.entropies,
    reads: layer.reads,
    statistics,
  }
}

function parsed(json: string, source: string): TraceJson {
  const result = traceSchema.safeParse(parseJson(json, `${source}:`, InputError))
  if (result.success) return result.data
  const [{ path, message }] = result.error.issues
  throw new InputError(`${source}: ${placeIn(path)}${excerpt(message[0].toLowerCase() + message.slice(1))}`)
}

/** What a schema cannot say: lengths that belong together, experts that exist, counts that are right. */
function checkWhole(
  { rows: { length: T }, layers, hiddenStates, callLengths }: TraceJson,
  source: string,
): void {
  const check: Check = (holds, what) => {
    if (!holds) throw new InputError(`${source}: ${what}`)
  }
  const rows = callLengths ? sum(callLengths) : T
  check(rows === T, `callLengths sum to ${rows}, expected ${T} as in rows`)
  layers.forEach((layer, i) => {
    checkLayer(layer, `layers[${i}]`, T, check)
  })
  if (!hiddenStates) return
  const D = hiddenStates.embed[0]?.length ?? 0
  checkShape('hiddenStates.embed', hiddenStates.embed, T, D, check)
  checkShape('hiddenStates.finalNorm', hiddenStates.finalNorm, T, D, check)
  hiddenStates.layers.forEach((layer, i) => {
    for (const [name, values] of Object.entries(layer)) {
      checkShape(`hiddenStates.layers[${i}].${name}`, values, T, D, check)
    }
  })
}

type Check = (holds: boolean, what: string) => void

function checkLayer(layer: TraceJson['layers'][0], at: string, T: number, check: Check): void {
  const { numExperts: E, topK: K, expertIndices, tokensPerExpert } = layer
  check(K <= E, `${at}.topK is ${K}, expected at most numExperts=${E}`)
  const widths = { routerLogits: E, scores: E, compared: E, expertIndices: K, expertWeights: K } as const
  for (const [name, width] of Object.entries(widths)) {
    const rows = layer[name as keyof typeof widths]
    if (rows) checkShape(`${at}.${name}`, rows, T, width, check)
  }
  for (const name of ['margins', 'entropies'] as const) {
    const { length } = layer[name]
    check(length === T, `${at}.${name} has ${length} values, expected ${T} as in rows`)
  }
  expertIndices.forEach((row, t) => {
    const chosen = row.filter((e) => e >= 0)
    check(
      chosen.every((e) => e < E) && new Set(chosen).size === chosen.length,
      `${at}.expertIndices[${t}] is [${row}], expected different experts from 0 to ${E - 1}, or -1`,
    )
  })
  const counts = countTokens(Int32Array.from(expertIndices.flat()), E)
  check(
    String(counts) === String(tokensPerExpert),
    `${at}.tokensPerExpert is [${tokensPerExpert}], expected [${counts}] as counted from expertIndices`,
  )
}

function checkShape(place: string, rows: unknown[][], T: number, width: number, check: Check): void {
  check(rows.length === T, `${place} has ${rows.length} rows, expected ${T} as in rows`)
  const t = rows.findIndex((row) => row.length !== width)
  check(t < 0, `${place}[${t}] has ${rows[t]?.length} values, expected ${width}`)
}

function layerFromJson(layer: TraceJson['layers'][0]): LayerTrace {
  const { statistics: _, compared, reads, ...read } = layer
  return {
    ...read,
    ...(reads ? { reads } : {}),
    ...(compared ? { compared: floats(compared) } : {}),
    routerLogits: floats(read.routerLogits),
    scores: floats(read.scores),
    expertIndices: Int32Array.from(read.expertIndices.flat()),
    expertWeights: floats(read.expertWeights),
    tokensPerExpert: Int32Array.from(read.tokensPerExpert),
    margins: read.margins.map((margin) => (margin === null ? null : Number(margin))),
    entropies: Float32Array.from(read.entropies, Number),
  }
}

function floats(rows: NumberJson[][]): Float32Array {
  return Float32Array.from(rows.flat(), Number)
}
