import * as tf from '@tensorflow/tfjs-core'
import { maskValues } from '../model/attention.ts'
import { type Batch, toBatch } from '../model/batch.ts'
import type { MoeConfig } from '../model/config.ts'
import type { CacheExtension, KvCache } from '../model/kv-cache.ts'
import { ropeFrequencies, ropeValues } from '../model/rope.ts'
import { assertFinite } from '../model/router.ts'
import { TraceRecorder } from '../model/trace.ts'
import type { ForwardOptions, ForwardResult, MoeModel } from '../model/transformer.ts'
import { cutInPieces, type Piece } from './pieces.ts'
import { RecordedStep, type StepInputs, type StepShape } from './step.ts'

/** Columns that a cache has room for at first; doubled as needed. */
const MIN_CAPACITY = 256
/** Graphs kept; the one longest unused goes. */
const MAX_STEPS = 12

/** One call on its way through the graphs. */
interface Call {
  batch: Batch
  cache: KvCache
  extension: CacheExtension
  /** Column of the cache that the call's first column takes. */
  first: number
  capacity: number
  options: ForwardOptions
  /** Position of each of the call's rows [B T]. */
  positions: Int32Array
  /** Per sequence the validity of every column that the cache has room for. */
  columns: Uint8Array[]
  /** The layers whose routing is to be fetched. */
  traced: number[]
}

/** Runs a model's forward as recorded graphs, made when first needed: one a shape of step. */
export class RecordedExecutor {
  private readonly steps = new Map<string, RecordedStep>()
  private readonly frequencies: Float32Array
  private readonly mixtureLayers: number[]

  constructor(private readonly model: MoeModel) {
    const { rope, attention, layers } = model.config
    this.frequencies = ropeFrequencies(rope, attention.headDim)
    this.mixtureLayers = [...layers.keys()].filter((i) => layers[i].kind === 'moe')
  }

  /** Whether a graph can serve a call: training, interventions and hidden states need the eager forward. */
  static serves({ training, interventions, trace }: ForwardOptions): boolean {
    return !training && !interventions && !(typeof trace === 'object' && trace.hiddenStates)
  }

  /** As `MoeModel.forward`. */
  forward(tokens: number[] | number[][], options: ForwardOptions): ForwardResult {
    const { model } = this
    const batch = toBatch(tokens, model.config.vocabSize, options.attentionMask)
    const cache = options.cache ?? model.createCache()
    const outputs: Record<string, tf.Tensor>[] = []
    try {
      const pieces = cutInPieces(batch.length)
      const call = this.prepare(batch, cache, options, pieces)
      for (const piece of pieces) this.run(piece, call, outputs, outputs.length === pieces.length - 1)
      cache.commit(call.extension)
      const trace = options.trace ? this.trace(call, pieces, outputs) : null
      return { logits: joinLogits(call, pieces, outputs, Array.isArray(tokens[0])), trace }
    } finally {
      for (const output of outputs) tf.dispose(output)
      if (!options.cache) cache.dispose()
    }
  }

  dispose(): void {
    for (const step of this.steps.values()) step.dispose()
    this.steps.clear()
  }

  private prepare(batch: Batch, cache: KvCache, options: ForwardOptions, pieces: Piece[]): Call {
    const last = pieces[pieces.length - 1]
    const needed = last.from + last.stepTokens
    const columns = cache.stored + needed
    // Cutting at two windows makes it rare; room for a window that no token has filled yet would be attended to for nothing.
    const twoWindows = 2 * (this.model.config.attention.slidingWindow ?? 0)
    if (columns > twoWindows && roomFor(columns) > roomFor(cache.stored)) cache.forgetHidden()
    const extension = cache.extend(batch.mask)
    const capacity = roomFor(cache.stored + needed)
    return {
      batch,
      cache,
      extension,
      first: cache.stored,
      capacity,
      options,
      positions: batch.positions(extension.firstPositions),
      columns: extension.columns.map((row) => {
        const room = new Uint8Array(capacity)
        room.set(row)
        return room
      }),
      traced: options.trace ? this.mixtureLayers : [],
    }
  }

  /** One piece through its graph; adds `finite`, `logits` if wanted of it, and the traced layers' routing. */
  private run(piece: Piece, call: Call, outputs: Record<string, tf.Tensor>[], isLast: boolean): void {
    const { batch, capacity, options } = call
    const shape: StepShape = {
      batch: batch.size,
      tokens: piece.stepTokens,
      capacity,
      dispatch: options.dispatch ?? this.model.dispatch,
      logits: options.logits ?? 'all',
    }
    const wanted = [
      'finite',
      ...(isLast || shape.logits === 'all' ? ['logits'] : []),
      ...call.traced.flatMap((l) => [`${l}/routerLogits`, `${l}/expertIndices`, `${l}/expertWeights`]),
    ]
    const step = this.step(shape)
    const inputs = this.inputs(piece, call)
    const results = step.run(call.cache, inputs, wanted)
    outputs.push(Object.fromEntries(wanted.map((name, i) => [name, results[i]])))
    if (!results[0].dataSync()[0]) this.explain(step, inputs, call, piece)
  }

  private inputs(piece: Piece, { batch, first, positions: all, columns }: Call): StepInputs {
    const { size: B, length: T } = batch
    const { stepTokens, from, count } = piece
    const tokens = new Int32Array(B * stepTokens)
    const positions = new Int32Array(B * stepTokens)
    for (let b = 0; b < B; b++) {
      tokens.set(batch.tokens.subarray(b * T + from, b * T + from + count), b * stepTokens)
      positions.set(all.subarray(b * T + from, b * T + from + count), b * stepTokens)
    }
    return {
      tokens,
      ...ropeValues(positions, this.frequencies),
      mask: maskValues(columns, first + from, stepTokens, this.model.config.attention),
      firstColumn: first + from,
      lastRows: Int32Array.from({ length: B }, (_, b) => b * stepTokens + count - 1),
    }
  }

  /** The graph of a shape, made when first asked for. */
  private step(shape: StepShape): RecordedStep {
    const key = Object.values(shape).join()
    const known = this.steps.get(key)
    const step = known ?? new RecordedStep(this.model.config, this.model.weights, shape)
    this.steps.delete(key)
    this.steps.set(key, step)
    if (this.steps.size > MAX_STEPS) {
      const [oldest, stale] = this.steps.entries().next().value as [string, RecordedStep]
      stale.dispose()
      this.steps.delete(oldest)
    }
    return step
  }

  /** Something was not finite: if a router saw it, say where. Running the step again writes the same columns. */
  private explain(step: RecordedStep, inputs: StepInputs, call: Call, { from, count }: Piece): void {
    const layers = this.mixtureLayers
    const logits = step.run(
      call.cache,
      inputs,
      layers.map((l) => `${l}/routerLogits`),
    )
    const rows = Array.from({ length: call.batch.size * step.shape.tokens }, (_, row) => ({
      sequence: Math.floor(row / step.shape.tokens),
      position:
        call.extension.firstPositions[Math.floor(row / step.shape.tokens)] +
        from +
        Math.min(row % step.shape.tokens, count - 1),
    }))
    try {
      layers.forEach((layer, i) => {
        assertFinite(logits[i].dataSync() as Float32Array, logits[i].shape[1] as number, { layer, rows })
      })
    } finally {
      tf.dispose(logits)
    }
  }

  private trace(call: Call, pieces: Piece[], outputs: Record<string, tf.Tensor>[]) {
    const { batch, extension } = call
    const recorder = new TraceRecorder(batch.realRows, batch.rows(extension.firstPositions), {})
    for (const layer of this.mixtureLayers) {
      const { router } = this.model.config.layers[layer] as MoeConfig
      const weights = this.model.weights.blocks[layer].feedForward
      const scoreBias = weights.kind === 'moe' ? weights.scoreBias : null
      const gather = (name: string) =>
        realRows(
          call,
          pieces,
          outputs.map((o) => o[`${layer}/${name}`]),
        )
      tf.tidy(() => {
        const routing = { expertIndices: gather('expertIndices'), expertWeights: gather('expertWeights') }
        recorder.routing(gather('routerLogits'), routing, { config: router, scoreBias }, { place: { layer } })
      })
    }
    return recorder.trace
  }
}

/** Columns of a cache to have room for: a power of two. */
function roomFor(columns: number): number {
  return Math.max(MIN_CAPACITY, 2 ** Math.ceil(Math.log2(columns)))
}

/** Rows [B stepTokens, n] of each piece as the rows of the call's real tokens, sequence after sequence. */
function realRows({ batch }: Call, pieces: Piece[], parts: tf.Tensor[]): tf.Tensor2D {
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
function joinLogits(
  { batch, options }: Call,
  pieces: Piece[],
  outputs: Record<string, tf.Tensor>[],
  batched: boolean,
): tf.Tensor {
  return tf.tidy(() => {
    if (options.logits === 'last') {
      const { logits } = outputs[outputs.length - 1]
      return batched ? tf.reshape(logits, [batch.size, 1, -1]) : tf.clone(logits)
    }
    const all = byColumn(
      batch,
      pieces,
      outputs.map((o) => o.logits),
    )
    return batched ? tf.clone(all) : tf.reshape(all, [batch.length, -1])
  })
}
