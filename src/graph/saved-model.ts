import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import * as tf from '@tensorflow/tfjs-core'
import { DeviceError, InputError } from '../errors.ts'
import type { ModelConfig } from '../model/config.ts'
import type { MoeModel } from '../model/transformer.ts'
import { DATA_TYPES, encodeSavedModel, type Signature, type SignatureTensor } from './protobuf.ts'
import type { GraphVariable, Recording } from './recorder.ts'
import { GraphBuilder } from './saved-model-builder.ts'
import { addInputs } from './saved-model-inputs.ts'
import { recordServing, type ServingDispatch } from './saved-model-record.ts'
import { RECORDED_SIZES, withFreeSizes } from './saved-model-sizes.ts'
import { saverOf, saveVariables, withNamedVariables } from './saved-model-variables.ts'

export interface SavedModelOptions {
  /** How the graph runs experts; default `sparse`. */
  dispatch?: ServingDispatch
  /** Ends the export before anything is written. */
  signal?: AbortSignal
  /** Called with the share (0..1) of the forwards that have been recorded. */
  onProgress?: (share: number) => void
}

export interface ExportedModel {
  dir: string
  signatures: Record<string, Signature>
  nodes: number
  /** Weights in the checkpoint files; smaller ones are constants of the graph. */
  variables: number
  variableBytes: number
}

/**
 * Writes the forward as a TensorFlow SavedModel directory: saved_model.pb and variables/, tagged `serve`. Signatures
 * (B and T free, S columns of cache): `serving_default` input_ids [B, T] -> logits [B, T, V]; `decode` input_ids [B, T],
 * past_keys and past_values [L, B, Nk, S, d] -> logits, keys and values [L, B, Nk, S+T, d].
 * The directory appears whole or not at all; null if `signal` came first. The model's backend has to be the active one.
 * @throws InputError when `dir` is there and not empty, DeviceError without TensorFlow
 */
export async function exportSavedModel(
  model: MoeModel,
  dir: string,
  { dispatch = 'sparse', signal, onProgress }: SavedModelOptions = {},
): Promise<ExportedModel | null> {
  assertFree(dir)
  if (tf.getBackend() !== 'tensorflow') {
    throw new DeviceError(
      'export: a SavedModel is made by TensorFlow (device cuda or cpu); run `tinymoe setup`',
    )
  }
  const recordings: Recording[] = []
  for (const sizes of RECORDED_SIZES) {
    recordings.push(recordServing(model.config, model.weights, sizes, dispatch))
    onProgress?.(recordings.length / RECORDED_SIZES.length)
    await setImmediate() // so that an interrupt is heard
    if (signal?.aborted) return null
  }
  const { nodes, variables } = withNamedVariables(oneGraph(model.config, recordings), model.weights)
  const saving = saverOf(variables)
  const signatures = signaturesOf(model.config, recordings[0])
  const bytes = encodeSavedModel({
    nodes: [...nodes, ...saving.nodes],
    signatures,
    restored: { saver: saving.saver, variables: saving.variables },
  })
  writeWhole(dir, bytes, variables)
  return {
    dir,
    signatures,
    nodes: nodes.length,
    variables: variables.length,
    variableBytes: variables.reduce((sum, { tensor }) => sum + 4 * tensor.size, 0),
  }
}

function oneGraph(config: ModelConfig, recordings: Recording[]): Pick<Recording, 'nodes' | 'variables'> {
  const graph = new GraphBuilder('serving')
  const sizes = addInputs(graph, config)
  const nodes = withFreeSizes(
    recordings.map((recording) => recording.nodes),
    graph,
    sizes,
  )
  const [{ outputs, variables }] = recordings
  for (const [name, { ref, dtype }] of Object.entries(outputs)) {
    graph.node('Identity', [ref], { T: { type: DATA_TYPES[dtype] } }, name)
  }
  return { nodes: [...graph.nodes, ...nodes], variables }
}

function signaturesOf(config: ModelConfig, { outputs }: Recording): Record<string, Signature> {
  const { numKeyValueHeads: Nk, headDim: d } = config.attention
  const tensor = (name: string, dtype: 'int32' | 'float32', shape: number[]): SignatureTensor => {
    return { name: `${name}:0`, dtype: DATA_TYPES[dtype], shape }
  }
  const cache = [config.layers.length, -1, Nk, -1, d]
  const ids = { input_ids: tensor('input_ids', 'int32', [-1, -1]) }
  const logits = { logits: tensor('logits', 'float32', [-1, -1, config.vocabSize]) }
  const caches = (...names: string[]) =>
    Object.fromEntries(names.map((name) => [name, tensor(name, 'float32', cache)]))
  return {
    serving_default: { inputs: ids, outputs: logits },
    decode: {
      inputs: { ...ids, ...caches('past_keys', 'past_values') },
      outputs: { ...logits, ...caches(...Object.keys(outputs).filter((name) => name !== 'logits')) },
    },
  }
}

function assertFree(dir: string): void {
  if (!existsSync(dir)) return
  if (!statSync(dir).isDirectory()) throw new InputError(`${dir}: is a file, expected a directory to write`)
  if (readdirSync(dir).length > 0) {
    throw new InputError(`${dir}: is not empty, expected a new or an empty directory for the SavedModel`)
  }
}

/** Written beside its place and then renamed; rename replaces an empty directory. */
function writeWhole(dir: string, savedModel: Uint8Array, variables: GraphVariable[]): void {
  const temporary = `${resolve(dir)}.${process.pid}.tmp`
  try {
    mkdirSync(join(temporary, 'variables'), { recursive: true })
    saveVariables(variables, join(temporary, 'variables', 'variables'))
    writeFileSync(join(temporary, 'saved_model.pb'), savedModel)
    mkdirSync(dirname(resolve(dir)), { recursive: true })
    renameSync(temporary, dir)
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}
