import { copyFileSync, existsSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ConfigError, InputError } from '../errors.ts'
import type { RunnableFamily } from '../families/family.ts'
import { decoderJson, runnableConfig } from '../families/index.ts'
import type { Quantisation } from '../families/quantisation.ts'
import { readJson } from '../files.ts'
import type { ModelConfig } from '../model/config.ts'
import { openCheckpoint } from './disk.ts'
import type { FloatDtype } from './dtype.ts'
import { configOfWeights, weightSource } from './load.ts'
import type { CheckpointLayout } from './published.ts'
import { dequantised } from './quantised.ts'
import { checkpointSteps, DTYPE_NAMES, jsonText, type StoredValues, storedFrom } from './save.ts'

export interface ExportOptions {
  dtype: FloatDtype
  layout: CheckpointLayout
}

/** A model as its directory has it, nothing read yet. */
export interface StoredModel {
  dir: string
  config: ModelConfig
  family: RunnableFamily
  quantisation: Quantisation | null
  /** Its config.json, of a multimodal one the part about its decoder. */
  json: Record<string, unknown>
  values: StoredValues
}

/** Of files beside the weights those that say how text becomes tokens, and how to generate. */
const COPIED =
  /^(generation_config|tokenizer.*|special_tokens_map|added_tokens|vocab|chat_template)\.(json|jinja|model)$|^merges\.txt$/

/**
 * Writes a model's directory again: its weights in another type of numbers or layout, whatever they were stored in. config.json
 * stays, but for what says how the weights are stored, and so do the tokenizer's files. Returns what was noticed, a sentence each.
 * @throws ConfigError, CheckpointError or InputError, each one sentence
 */
export function exportModel(
  dir: string,
  out: string,
  options: ExportOptions,
  hooks?: WriteHooks,
): Promise<string[]> {
  const steps = (model: StoredModel) => {
    const files = { 'config.json': configText(model, { dtype: DTYPE_NAMES[options.dtype] }) }
    return checkpointSteps(out, model.config, options, model.values, files)
  }
  return withStored(dir, out, steps, hooks)
}

/** A model's config.json for weights that are stored in another way, of which `stored` are the fields. */
export function configText({ dir, config, json }: StoredModel, stored: Record<string, unknown>): string {
  const { quantization_config: _, torch_dtype: __, transformers_weights: ___, ...kept } = json
  const written = {
    ...kept,
    ...(config.tieWordEmbeddings !== (json.tie_word_embeddings ?? false) && {
      tie_word_embeddings: config.tieWordEmbeddings,
    }),
    ...stored,
  }
  return jsonText(written, readFileSync(join(dir, 'config.json'), 'utf8'))
}

/** Told the share of the work that is done; asked after each tensor whether to go on. */
export interface WriteHooks {
  onShare?: (share: number) => void
  /** Once aborted, nothing of the weights is left, and it is rejected with. */
  signal?: AbortSignal
}

/**
 * Opens a model's directory for the steps of `work`, and puts its small files in the place of those in `out` after them. Returns what
 * was noticed.
 */
export async function withStored(
  dir: string,
  out: string,
  work: (model: StoredModel) => Iterable<number>,
  { onShare, signal }: WriteHooks = {},
): Promise<string[]> {
  if (existsSync(out) && realpathSync(out) === realpathSync(dir)) {
    throw new InputError(`${out}: is the model's own directory, expected another`)
  }
  const file = join(dir, 'config.json')
  const whole = readJson(file, ConfigError)
  const { config: published, family, quantisation } = runnableConfig(whole, file)
  const checkpoint = openCheckpoint(dir, (name) => family.ignored(name, published))
  try {
    const plain = dequantised(checkpoint, quantisation)
    const { config, remarks } = configOfWeights(plain, published, family)
    const values = storedFrom(weightSource(plain, config, family), config)
    const json = decoderJson(whole) as Record<string, unknown>
    for (const share of work({ dir, config, family, quantisation, json, values })) {
      onShare?.(share)
      await nextTurn(undefined, { signal })
    }
    for (const name of readdirSync(out)) if (COPIED.test(name)) rmSync(join(out, name)) // of a model that was there
    for (const name of readdirSync(dir)) {
      if (COPIED.test(name) && statSync(join(dir, name)).isFile())
        copyFileSync(join(dir, name), join(out, name))
    }
    return remarks
  } finally {
    checkpoint.close()
  }
}
