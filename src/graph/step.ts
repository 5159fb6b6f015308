import * as tf from '@tensorflow/tfjs-core'
import type { KeysValues } from '../model/attention.ts'
import type { ModelConfig, MoeConfig } from '../model/config.ts'
import { decode, unembed } from '../model/decoder.ts'
import { type DispatchName, mixtureLayer } from '../model/dispatch/index.ts'
import type { CacheHolder, KvCache } from '../model/kv-cache.ts'
import type { RoutingTensors } from '../model/router-tensors.ts'
import type { ModelWeights, MoeWeights } from '../model/weights.ts'
import { onBackend } from '../runtime/on-backend.ts'
import { DATA_TYPES } from './protobuf.ts'
import { type Recorder, type Recording, record } from './recorder.ts'
import { GraphSession } from './session.ts'

/** What makes one recorded step differ from another: everything that is a constant of its graph. */
export interface StepShape {
  /** B */
  batch: number
  /** T */
  tokens: number
  /** Columns that the cache has room for. */
  capacity: number
  dispatch: DispatchName | 'auto'
  logits: 'all' | 'last'
}

/** What a step is fed; shapes as in `DecoderCall`. */
export interface StepInputs {
  tokens: Int32Array
  cos: Float32Array
  sin: Float32Array
  /** [B, 1, G T, capacity] */
  mask: Float32Array
  /** The first column that the new tokens take; the same for all sequences. */
  firstColumn: number
  /** [B] the rows whose logits are wanted when the step gives the last ones only. */
  lastRows: Int32Array
}

/**
 * One forward of fixed shape as a TensorFlow graph: tokens, rotary tables and mask in, logits out, the kv-cache in
 * variables that are updated in place. Holds at most one cache at a time.
 */
export class RecordedStep implements CacheHolder {
  private readonly backend = tf.getBackend()
  private readonly session: GraphSession
  private readonly cacheHandles: string[]
  private readonly cacheReads: string[]
  private held: KvCache | null = null

  constructor(
    private readonly config: ModelConfig,
    weights: ModelWeights,
    readonly shape: StepShape,
  ) {
    const scope = tf.engine()
    scope.startScope('recording')
    try {
      const { recording, handles, reads } = recordStep(config, weights, shape)
      this.cacheHandles = handles
      this.cacheReads = reads
      this.session = new GraphSession(recording)
    } finally {
      scope.endScope()
    }
  }

  /** Runs on `cache`: its columns move into the graph's variables unless they are there already. */
  run(cache: KvCache, inputs: StepInputs, outputs: string[]): tf.Tensor[] {
    this.hold(cache)
    const { batch: B, tokens: T } = this.shape
    const n = inputs.cos.length / (B * T)
    return tf.tidy(() =>
      this.session
        .run(
          {
            tokens: tf.tensor1d(inputs.tokens, 'int32'),
            cos: tf.tensor4d(inputs.cos, [B, T, 1, n]),
            sin: tf.tensor4d(inputs.sin, [B, T, 1, n]),
            mask: tf.tensor4d(inputs.mask, this.maskShape(inputs.mask.length)),
            slots: tf.tensor1d(this.slots(inputs.firstColumn), 'int32'),
            ...(this.shape.logits === 'last' ? { lastRows: tf.tensor1d(inputs.lastRows, 'int32') } : {}),
          },
          outputs,
        )
        .map((t) => tf.keep(t)),
    )
  }

  release(): KeysValues[] {
    const { batch } = this.shape
    const { numKeyValueHeads: Nk, headDim: d } = this.config.attention
    // The owner may ask for it while another model's backend is active.
    const shaped = onBackend(this.backend, () =>
      this.session.fetch(this.cacheReads).map((t) => {
        const view = tf.reshape(t, [batch, Nk, this.shape.capacity, d]) as tf.Tensor4D
        t.dispose()
        return tf.keep(view) // it may be asked for inside an eager forward's tidy
      }),
    )
    this.held = null
    return this.config.layers.map((_, i) => ({ keys: shaped[2 * i], values: shaped[2 * i + 1] }))
  }

  /** A cache that is held goes back to its owner first. */
  dispose(): void {
    this.held?.park()
    this.session.dispose()
  }

  /** The rows of the cache variables [B Nk capacity, d] that the new tokens are written to. */
  private slots(firstColumn: number): Int32Array {
    const { batch, tokens, capacity } = this.shape
    const rows = batch * this.config.attention.numKeyValueHeads
    return Int32Array.from({ length: rows * tokens }, (_, i) => {
      return Math.floor(i / tokens) * capacity + firstColumn + (i % tokens)
    })
  }

  private maskShape(size: number): [number, number, number, number] {
    const { numHeads, numKeyValueHeads } = this.config.attention
    const rows = (numHeads / numKeyValueHeads) * this.shape.tokens
    return [size / (rows * this.shape.capacity), 1, rows, this.shape.capacity]
  }

  private hold(cache: KvCache): void {
    if (cache.isHeldBy(this)) return
    this.held?.park()
    const layers = cache.handOver(this)
    this.held = cache
    const { batch, capacity } = this.shape
    const { numKeyValueHeads: Nk, headDim: d } = this.config.attention
    const flat = tf.tidy(() =>
      layers.flatMap((layer) =>
        layer
          ? [roomy(layer.keys, capacity), roomy(layer.values, capacity)]
          : [tf.zeros([batch * Nk * capacity, d]), tf.zeros([batch * Nk * capacity, d])],
      ),
    )
    this.session.assign(Object.fromEntries(flat.map((t, i) => [this.cacheHandles[i], t])))
    tf.dispose(flat)
    for (const layer of layers) if (layer) tf.dispose([layer.keys, layer.values])
  }
}

interface RecordedParts {
  recording: Recording
  handles: string[]
  reads: string[]
}

/** Runs the decoder once on zeros and records it. */
function recordStep(config: ModelConfig, weights: ModelWeights, shape: StepShape): RecordedParts {
  const { batch: B, tokens: T, capacity } = shape
  const { numHeads, numKeyValueHeads: Nk, headDim } = config.attention
  const n = config.rope.rotaryDim ?? headDim
  const inputs = {
    tokens: tf.zeros<tf.Rank.R1>([B * T], 'int32'),
    cos: tf.ones<tf.Rank.R4>([B, T, 1, n]),
    sin: tf.zeros<tf.Rank.R4>([B, T, 1, n]),
    mask: tf.zeros<tf.Rank.R4>([B, 1, (numHeads / Nk) * T, capacity]),
    slots: tf.range(0, B * Nk * T, 1, 'int32'),
    ...(shape.logits === 'last' ? { lastRows: tf.range(0, B, 1, 'int32') } : {}),
  }
  let cache: GraphCache | undefined
  const routing = new GraphRouting(shape.dispatch)
  const recording = record(inputs, (recorder) => {
    cache = new GraphCache(recorder, inputs.slots, config, shape)
    const x = decode(config, weights, {
      tokens: inputs.tokens,
      attention: { batch: B, rope: inputs, mask: inputs.mask, cache, normEps: config.normEps },
      padding: null,
      routing,
    })
    const wanted = inputs.lastRows ? (tf.gather(x, inputs.lastRows) as tf.Tensor2D) : x
    return { logits: unembed(wanted, weights), ...routing.outputs(wanted) }
  })
  routing.dispose()
  return { recording, handles: cache?.handles ?? [], reads: cache?.reads ?? [] }
}

/** A layer's keys and values as graph variables [B Nk capacity, d], written in place and then read. */
class GraphCache {
  readonly handles: string[] = []
  readonly reads: string[] = []

  constructor(
    private readonly recorder: Recorder,
    private readonly slots: tf.Tensor1D,
    private readonly config: ModelConfig,
    private readonly shape: StepShape,
  ) {}

  append(layer: number, keys: tf.Tensor4D, values: tf.Tensor4D): KeysValues {
    return {
      keys: this.update(`cache/${layer}/keys`, keys),
      values: this.update(`cache/${layer}/values`, values),
    }
  }

  private update(name: string, added: tf.Tensor4D): tf.Tensor4D {
    const { recorder, shape } = this
    const { numKeyValueHeads: Nk, headDim: d } = this.config.attention
    const rows = shape.batch * Nk * shape.capacity
    const handle = recorder.declare(name, 'float32', [rows, d])
    const dtype = { type: DATA_TYPES.float32 }
    const updates = tf.reshape(added, [-1, d])
    const written = recorder.emit(
      'ResourceScatterUpdate',
      [handle, recorder.ref(this.slots), recorder.ref(updates)],
      { dtype, Tindices: { type: DATA_TYPES.int32 } },
    )
    const read = recorder.emit('ReadVariableOp', [handle], { dtype }, [written])
    this.handles.push(handle)
    this.reads.push(recorder.emit('ReadVariableOp', [handle], { dtype })) // for taking the cache out, outside a step
    const stored = recorder.bind(tf.zeros([rows, d]), read)
    return tf.reshape(stored, [shape.batch, Nk, shape.capacity, d])
  }
}

/** Routes on the device and remembers what a trace or a check may want to fetch; unfetched, it costs nothing. */
class GraphRouting {
  private readonly layers: { layer: number; routerLogits: tf.Tensor2D; routing: RoutingTensors }[] = []

  constructor(private readonly dispatch: DispatchName | 'auto') {}

  run(x: tf.Tensor2D, weights: MoeWeights, config: MoeConfig, layer: number): tf.Tensor2D {
    const place = { layer }
    const { output, routing, routerLogits } = mixtureLayer(x, weights, config, this.dispatch, { place })
    if ('tokensPerExpert' in routing) throw new Error('recording: routing left the device')
    const { expertIndices, expertWeights } = routing
    const kept = { expertIndices: tf.keep(expertIndices), expertWeights: tf.keep(expertWeights) }
    this.layers.push({ layer, routerLogits: tf.keep(routerLogits), routing: kept })
    return output
  }

  dispose(): void {
    for (const { routerLogits, routing } of this.layers) {
      tf.dispose([routerLogits, routing.expertIndices, routing.expertWeights])
    }
  }

  /** `finite` depends on everything that the step does: fetch it and all of it has run. */
  outputs(lastHidden: tf.Tensor): Record<string, tf.Tensor> {
    const watched = [lastHidden, ...this.layers.map(({ routerLogits }) => routerLogits)]
    return {
      finite: tf.all(tf.isFinite(tf.concat(watched.map((t) => tf.reshape(t, [-1]))))),
      ...Object.fromEntries(
        this.layers.flatMap(({ layer, routerLogits, routing }) => [
          [`${layer}/routerLogits`, routerLogits],
          [`${layer}/expertIndices`, routing.expertIndices],
          [`${layer}/expertWeights`, routing.expertWeights],
        ]),
      ),
    }
  }
}

/** Keys or values [B, Nk, S, d] as rows [B Nk capacity, d], zeros in the room that is left. */
function roomy(x: tf.Tensor4D, capacity: number): tf.Tensor {
  const [B, Nk, S, d] = x.shape
  const rows = [B * Nk * capacity, d]
  if (S === capacity) return tf.reshape(x, rows)
  const kept = S > capacity ? tf.slice(x, [0, 0, 0, 0], [B, Nk, capacity, d]) : x
  return tf.reshape(
    tf.pad(kept, [
      [0, 0],
      [0, 0],
      [0, capacity - kept.shape[2]],
      [0, 0],
    ]),
    rows,
  )
}
