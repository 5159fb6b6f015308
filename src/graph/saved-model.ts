import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import * as tf from '@tensorflow/tfjs-core'
import { DeviceError, InputError, messageOf } from '../errors.ts'
import { entryAt, makeFolder } from '../files.ts'
import type { ModelConfig } from '../model/config.ts'
import type { MoeModel } from '../model/transformer.ts'
import { DATA_TYPES, encodeSavedModel, type SignatureTensor } from './protobuf.ts'
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

export interface ServedTensor {
  dtype: 'int32' | 'float32'
  /** null is a size that the caller chooses. */
  shape: (number | null)[]
}

export interface ServedSignature {
  inputs: Record<string, ServedTensor>
  outputs: Record<string, ServedTensor>
}

export interface ExportedModel {
  dir: string
  signatures: Record<string, ServedSignature>
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
  const signatures = signaturesOf(model.config)
  const bytes = encodeSavedModel({
    nodes: [...nodes, ...saving.nodes],
    signatures: Object.fromEntries(
      Object.entries(signatures).map(([name, { inputs, outputs }]) => [
        name,
        { inputs: located(inputs), outputs: located(outputs) },
      ]),
    ),
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

function signaturesOf({ attention, layers, vocabSize: V }: ModelConfig): Record<string, ServedSignature> {
  const cache: ServedTensor = {
    dtype: 'float32',
    shape: [layers.length, null, attention.numKeyValueHeads, null, attention.headDim],
  }
  const ids: Record<string, ServedTensor> = { input_ids: { dtype: 'int32', shape: [null, null] } }
  const logits: Record<string, ServedTensor> = { logits: { dtype: 'float32', shape: [null, null, V] } }
  return {
    serving_default: { inputs: ids, outputs: logits },
    decode: {
      inputs: { ...ids, past_keys: cache, past_values: cache },
      outputs: { ...logits, keys: cache, values: cache },
    },
  }
}

/** A signature's tensors have their nodes' names. */
function located(tensors: Record<string, ServedTensor>): Record<string, SignatureTensor> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape }]) => [
      name,
      { name: `${name}:0`, dtype: DATA_TYPES[dtype], shape: shape.map((size) => size ?? -1) },
    ]),
  )
}

/** @throws InputError when something is at `dir` that an export would replace */
export function assertFree(dir: string): void {
  if (dir === '') throw new InputError('export: the directory is "", expected the name of one')
  const there = entryAt(dir, InputError)
  if (!there) return
  if (!there.isDirectory()) throw new InputError(`${dir}: is a file, expected a directory to write`)
  if (readdirSync(dir).length > 0) {
    throw new InputError(`${dir}: is not empty, expected a new or an empty directory for the SavedModel`)
  }
}

/** Written beside its place and then renamed; rename replaces an empty directory. */
function writeWhole(dir: string, savedModel: Uint8Array, variables: GraphVariable[]): void {
  const temporary = `${resolve(dir)}.${process.pid}.tmp`
  try {
    makeFolder(join(temporary, 'variables'))
    try {
      saveVariables(variables, join(temporary, 'variables', 'variables'))
      writeFileSync(join(temporary, 'saved_model.pb'), savedModel)
      renameSync(temporary, dir)
    } finally {
      rmSync(temporary, { recursive: true, force: true })
    }
  } catch (error) {
    throw new InputError(`${dir}: cannot be written (${messageOf(error)})`, { cause: error })
  }
}
