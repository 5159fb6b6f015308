import * as tf from '@tensorflow/tfjs-core'
import type { Dtype } from '../backend/dtypes.ts'
import type { HostNumbers } from '../backend/tensorflow.ts'
import { type Batch, toBatch } from '../model/batch.ts'
import { mixtureAt, mixtureLayers } from '../model/config.ts'
import type { ForwardOptions } from '../model/forward-options.ts'
import type { CacheExtension, KvCache } from '../model/kv-cache.ts'
import { mostLikelyTokens } from '../model/most-likely.ts'
import { assertFinite } from '../model/router/steps.ts'
import { type RoutingTrace, TraceRecorder } from '../model/trace.ts'
import type { ForwardResult, GreedyResult, MoeModel } from '../model/transformer.ts'
import {
  type ExpertReads,
  type ExpertsOnDisk,
  type MoeWeights,
  readsSince,
  routerRules,
} from '../model/weights.ts'
import { type Piece, piecesOf, roomFor, stepsPlanFor } from './plan.ts'
import { RecordedStep, StepGraphs, type StepShape } from './step.ts'
import type { StepInputs } from './step-inputs.ts'

/** What a call is after: the logits, or each sequence's most likely next token. */
type Wanted = 'logits' | 'greedy'

/** One call on its way through the graphs. */
interface Call {
  batch: Batch
  cache: KvCache
  extension: CacheExtension
  pieces: Piece[]
  /** What each piece that has run gave, by name. */
  outputs: Record<string, HostNumbers>[]
  wanted: Wanted
  /** The numbers of the last piece's `greedy`, or else `finite`; empty before, and where there is neither. */
  checks: Float32Array
  /** Column of the cache that the call's first column takes. */
  first: number
  capacity: number
  dispatch: StepShape['dispatch']
  logits: StepShape['logits']
  /** Position of each of the call's rows [B T]. */
  positions: Int32Array
  /** Per sequence the validity of every column that the cache has room for. */
  columns: Uint8Array[]
  /** The layers whose routing is to be fetched. */
  traced: number[]
  /** Of experts that stay on disk, by layer, what was read before the call. */
  readsBefore: Map<number, ExpertReads>
}

/** Runs a model's forward as recorded graphs, made when first needed: one a shape of step. */
export class RecordedExecutor {
  private readonly steps = new Map<string, RecordedStep>()
  private readonly mixtureLayers: number[]
  private readonly onDisk: { layer: number; experts: ExpertsOnDisk; topK: number; isStacked: boolean }[]
  private readonly shared: StepGraphs
  private msForGraphs = 0

  /** `dtype`: what weights are multiplied in; on a processor few rows are multiplied in float32 whatever it says. */
  constructor(
    private readonly model: MoeModel,
    dtype: Dtype = 'float32',
  ) {
    this.shared = new StepGraphs(model.config, model.weights, dtype)
    this.mixtureLayers = mixtureLayers(model.config)
    this.onDisk = this.mixtureLayers.flatMap((layer) => {
      const { onDisk: experts, stacked } = model.weights.blocks[layer].feedForward as MoeWeights
      const { topK } = mixtureAt(model.config, layer).router
      return experts ? [{ layer, experts, topK, isStacked: stacked !== undefined }] : []
    })
  }

  /** Whether a graph can serve a call: interventions and hidden states need the eager forward. */
  static serves({ interventions, trace }: ForwardOptions): boolean {
    return !interventions && !(typeof trace === 'object' && trace.hiddenStates)
  }

  /** Likewise; of experts that stay on disk, a step's have to be in memory at the same time. */
  serves(tokens: number[] | number[][], options: ForwardOptions): boolean {
    if (!RecordedExecutor.serves(options)) return false
    const { onDisk } = this
    if (onDisk.length === 0) return true
    const sequences = Array.isArray(tokens[0]) ? (tokens as number[][]) : [tokens as number[]]
    const longest = Math.max(0, ...sequences.map(({ length }) => length))
    const rows = sequences.length * Math.max(0, ...piecesOf(longest).map(({ stepTokens }) => stepTokens))
    return onDisk.every(({ experts, topK, isStacked }) => {
      if (!isStacked) return false
      const all = (options.dispatch ?? this.model.dispatch) === 'dense'
      return experts.hasRoomFor(all ? experts.length : Math.min(experts.length, rows * topK))
    })
  }

  /** As `MoeModel.forward`. */
  forward(tokens: number[] | number[][], options: ForwardOptions): ForwardResult {
    return this.execute(tokens, options, 'logits', (call) => ({
      logits: joinLogits(call, Array.isArray(tokens[0])),
      trace: this.traceOf(call, options),
    }))
  }

  /** As `MoeModel.greedy`: the logits stay on the device, unless something about them is not finite. */
  greedy(tokens: number[] | number[][], options: Omit<ForwardOptions, 'logits'>): GreedyResult {
    return this.execute(tokens, { ...options, logits: 'last' }, 'greedy', (call) => {
      const [check] = call.checks
      const chosen = Number.isFinite(check) ? largestOf(call.checks) : this.greedyOnHost(call)
      return { tokens: chosen, trace: this.traceOf(call, options) }
    })
  }

  /** Milliseconds so far in making graphs: recording each, and its first run, in which TensorFlow prepares it. */
  get graphsMs(): number {
    return this.msForGraphs
  }

  /** Graphs that are there now. */
  get numGraphs(): number {
    return this.steps.size
  }

  /** Also to begin anew: what is asked for later is made again. */
  dispose(): void {
    this.steps.clear()
    this.shared.dispose()
  }

  /** Runs a call piece by piece and hands it to `take`. */
  private execute<R>(
    tokens: number[] | number[][],
    options: ForwardOptions,
    wanted: Wanted,
    take: (call: Call) => R,
  ): R {
    const { model } = this
    const batch = toBatch(tokens, model.config.vocabSize, options.attentionMask)
    const cache = options.cache ?? model.createCache()
    const outputs: Call['outputs'] = []
    try {
      const call = { ...this.prepare(batch, cache, options), outputs, wanted, checks: new Float32Array() }
      for (const piece of call.pieces) this.run(piece, call)
      cache.commit(call.extension)
      return take(call)
    } finally {
      if (!options.cache) cache.dispose()
    }
  }

  private prepare(
    batch: Batch,
    cache: KvCache,
    options: ForwardOptions,
  ): Omit<Call, 'outputs' | 'wanted' | 'checks'> {
    const plan = stepsPlanFor()
    const pieces = piecesOf(batch.length, plan)
    const last = pieces[pieces.length - 1]
    const needed = last.from + last.stepTokens
    const columns = cache.stored + needed
    // Cutting at two windows makes it rare; room for a window that no token has filled yet would be attended to for nothing.
    const twoWindows = 2 * (cache.window ?? 0)
    const room = (count: number) => roomFor(count, plan)
    if (columns > twoWindows && room(columns) > room(cache.stored)) cache.forgetHidden()
    const extension = cache.extend(batch.mask)
    const capacity = room(cache.stored + needed)
    return {
      batch,
      cache,
      extension,
      pieces,
      first: cache.stored,
      capacity,
      dispatch: options.dispatch ?? this.model.dispatch,
      logits: options.logits ?? 'all',
      positions: batch.positions(extension.firstPositions),
      columns: extension.columns.map((row) => {
        const room = new Uint8Array(capacity)
        room.set(row)
        return room
      }),
      traced: options.trace ? this.mixtureLayers : [],
      readsBefore: new Map(this.onDisk.map(({ layer, experts }) => [layer, { ...experts.reads }])),
    }
  }

  /** One piece through its graph; adds to the outputs what is wanted of it. */
  private run(piece: Piece, call: Call): void {
    const isLast = call.outputs.length === call.pieces.length - 1
    const result = resultOf(call, isLast)
    const names = [
      result,
      ...(this.mixtureLayers.length > 0 && result !== 'greedy' ? ['finite'] : []), // greedy has it
      ...call.traced.flatMap((l) => [`${l}/routerLogits`, `${l}/expertIndices`, `${l}/expertWeights`]),
    ]
    const results = this.fetch(piece, call, names)
    const output = Object.fromEntries(names.map((name, i) => [name, results[i]]))
    call.outputs.push(output)
    const check = output.greedy ?? output.finite
    if (!check) return
    call.checks = check.data as Float32Array
    if (!Number.isFinite(call.checks[0])) this.explain(piece, call)
  }

  /** Runs a piece's step; again, if it has run before, which writes the same columns. */
  private fetch(piece: Piece, call: Call, names: string[]): HostNumbers[] {
    const shape: StepShape = {
      batch: call.batch.size,
      tokens: piece.stepTokens,
      capacity: call.capacity,
      dispatch: call.dispatch,
      logits: call.logits,
    }
    const isKnown = this.steps.has(keyOf(shape))
    const started = performance.now()
    const results = this.step(shape).run(call.cache, stepInputs(piece, call), names)
    if (!isKnown) this.msForGraphs += performance.now() - started
    return results
  }

  /** The graph of a shape, made when first asked for. */
  private step(shape: StepShape): RecordedStep {
    const key = keyOf(shape)
    const known = this.steps.get(key)
    if (known) return known
    if (this.steps.size === stepsPlanFor().graphs) this.dispose() // a session's graph can only grow
    const step = new RecordedStep(this.shared, shape)
    this.steps.set(key, step)
    return step
  }

  /** Something was not finite: if a router saw it, say where. */
  private explain(piece: Piece, call: Call): void {
    const layers = this.mixtureLayers
    const logits = this.fetch(
      piece,
      call,
      layers.map((l) => `${l}/routerLogits`),
    )
    const rows = Array.from({ length: call.batch.size * piece.stepTokens }, (_, row) => {
      const sequence = Math.floor(row / piece.stepTokens)
      const inPiece = Math.min(row % piece.stepTokens, piece.count - 1)
      return { sequence, position: call.extension.firstPositions[sequence] + piece.from + inPiece }
    })
    layers.forEach((layer, i) => {
      const { data, shape } = logits[i]
      assertFinite(data as Float32Array, shape[1], { layer, rows })
    })
  }

  /** The choice from the logits of the last piece, looked at one by one. */
  private greedyOnHost(call: Call): number[] {
    const [logits] = this.fetch(call.pieces[call.pieces.length - 1], call, ['logits'])
    return tf.tidy(() => mostLikelyTokens(asTensor(logits)))
  }

  private traceOf(call: Call, options: ForwardOptions): RoutingTrace | null {
    if (!options.trace) return null
    const { batch, extension, outputs } = call
    const recorder = new TraceRecorder(batch.realRows, batch.rows(extension.firstPositions), {})
    for (const layer of this.mixtureLayers) {
      const weights = this.model.weights.blocks[layer].feedForward
      if (weights.kind !== 'moe') throw new Error(`layer ${layer} has no router`)
      const rules = routerRules(mixtureAt(this.model.config, layer), weights)
      const gather = (name: string) =>
        realRows(
          call,
          outputs.map((o) => asTensor(o[`${layer}/${name}`])),
        )
      tf.tidy(() => {
        const routing = { expertIndices: gather('expertIndices'), expertWeights: gather('expertWeights') }
        const before = call.readsBefore.get(layer)
        const reads = weights.onDisk && before && readsSince(weights.onDisk, before)
        recorder.routing(gather('routerLogits'), routing, rules, { place: { layer }, reads })
      })
    }
    return recorder.trace
  }
}

function asTensor({ data, shape }: HostNumbers, as = shape): tf.Tensor {
  return tf.tensor(data, as, data instanceof Int32Array ? 'int32' : 'float32')
}

function keyOf(shape: StepShape): string {
  return Object.values(shape).join()
}

/** Each row's index in `greedy`, after the first number. */
function largestOf({ buffer, byteOffset, length }: Float32Array): number[] {
  return [...new Int32Array(buffer, byteOffset, length).subarray(1)]
}

/** What a piece's step is fetched for: of pieces before the last only that all of it runs, unless all logits are wanted. */
function resultOf({ wanted, logits }: Call, isLast: boolean): string {
  if (logits === 'all') return 'logits'
  return isLast ? wanted : 'hidden'
}

function stepInputs(
  { stepTokens, from, count }: Piece,
  { batch, first, positions: all, columns }: Call,
): StepInputs {
  const { size: B, length: T } = batch
  const tokens = new Int32Array(B * stepTokens)
  const positions = new Int32Array(B * stepTokens)
  for (let b = 0; b < B; b++) {
    tokens.set(batch.tokens.subarray(b * T + from, b * T + from + count), b * stepTokens)
    positions.set(all.subarray(b * T + from, b * T + from + count), b * stepTokens)
  }
  return {
    tokens,
    positions,
    columns,
    firstColumn: first + from,
    lastRows: Int32Array.from({ length: B }, (_, b) => b * stepTokens + count - 1),
  }
}

/** Rows [B stepTokens, n] of each piece as the rows of the call's real tokens, sequence after sequence. */
function realRows({ batch, pieces }: Call, parts: tf.Tensor[]): tf.Tensor2D {
  const columns = byColumn(batch, pieces, parts) // [B, T, n]
  const flat = tf.reshape(columns, [batch.size * batch.length, -1])
  return tf.gather(flat, tf.tensor1d(batch.realRows, 'int32')) as tf.Tensor2D
}

/** Rows [B stepTokens, n] of each piece side by side, step padding left out: [B, T, n]. */
function byColumn(batch: Batch, pieces: Piece[], parts: tf.Tensor[]): tf.Tensor3D {
  const cut = parts.map((part, i) => {
    const { stepTokens, count } = pieces[i]
    const n = part.shape[1] as number
    const shaped = tf.reshape(part, [batch.size, stepTokens, n]) as tf.Tensor3D
    return count === stepTokens ? shaped : tf.slice(shaped, [0, 0, 0], [batch.size, count, n])
  })
  return cut.length === 1 ? cut[0] : tf.concat(cut, 1)
}

/** The logits in the shape that `forward` promises. */
function joinLogits({ batch, pieces, outputs, logits: which }: Call, batched: boolean): tf.Tensor {
  return tf.tidy(() => {
    if (which === 'last') {
      const { logits } = outputs[outputs.length - 1]
      return asTensor(logits, batched ? [batch.size, 1, logits.shape[1]] : logits.shape)
    }
    const all = byColumn(
      batch,
      pieces,
      outputs.map((o) => asTensor(o.logits)),
    )
    return batched ? all : tf.reshape(all, [batch.length, -1])
  })
}
