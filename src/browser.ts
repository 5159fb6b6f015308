/**
 * Public API where there is no Node: a model from a web server, or from files in memory, on the tfjs backend that the caller
 * has started. Nothing here imports Node's modules or names its globals (tests/browser.test.ts).
 */

import { configOfWeights, loadWeights } from './checkpoint/load.ts'
import type { LoadProgress } from './checkpoint/pack.ts'
import { dequantised } from './checkpoint/quantised.ts'
import { readCheckpoint } from './checkpoint/shards.ts'
import type { ModelFiles } from './checkpoint/source.ts'
import { ConfigError } from './errors.ts'
import { runnableConfig } from './families/index.ts'
import { endingAs, type GenerationConfig, readGenerationConfig } from './generate/generation-config.ts'
import type { ModelConfig } from './model/config.ts'
import { MoeModel } from './model/transformer.ts'
import type { DispatchName } from './model/ways.ts'
import type { ModelWeights } from './model/weights.ts'
import { parseJson } from './text/json.ts'
import { javascriptLibrary } from './tokenizer/javascript.ts'
import * as tokenizers from './tokenizer/open.ts'
import type { Tokenizer } from './tokenizer/tokenizer.ts'

/** A model with what its directory says besides. */
export class BrowserModel extends MoeModel {
  constructor(
    config: ModelConfig,
    weights: ModelWeights,
    dispatch: DispatchName | 'auto' | undefined,
    /** What its generation_config.json says, the defaults of `generate`; null where there is none. */
    readonly generation: GenerationConfig | null,
    /** What was noticed while loading, a sentence each. */
    readonly remarks: readonly string[],
  ) {
    super(config, weights, dispatch)
  }
}

/**
 * A model from its directory, wherever that lies.
 * @throws ConfigError or CheckpointError, each one sentence
 */
export function readModel(
  files: ModelFiles,
  { dispatch, onProgress }: { dispatch?: DispatchName | 'auto'; onProgress?: LoadProgress } = {},
): BrowserModel {
  const file = files.at('config.json')
  if (!files.has('config.json')) throw new ConfigError(`${file}: not found, expected the model's config`)
  const json = parseJson(files.bytes('config.json'), `${file}:`, ConfigError)
  const { config: published, family, quantisation } = runnableConfig(json, file)
  const generation = readGenerationConfig(files)
  const stored = readCheckpoint(files, (name) => family.ignored(name, published))
  const checkpoint = dequantised(stored, quantisation)
  try {
    const { config, remarks } = configOfWeights(checkpoint, endingAs(published, generation), family)
    const weights = loadWeights(checkpoint, config, family, { onProgress })
    return new BrowserModel(config, weights, dispatch, generation, remarks)
  } finally {
    checkpoint.close()
  }
}

/**
 * The tokenizer of the same directory, or null without one. Read by the JavaScript library, which refuses by name what it would
 * not follow exactly.
 * @throws CheckpointError, one sentence
 */
export function readTokenizer(files: ModelFiles): Tokenizer | null {
  return tokenizers.readTokenizer(files, javascriptLibrary)
}

export { type FetchOptions, fetchFiles } from './checkpoint/fetched.ts'
export { filesInMemory, type ModelFiles } from './checkpoint/source.ts'
export * from './errors.ts'
export { generate } from './generate/generate.ts'
export { KvCache } from './model/kv-cache.ts'
export { stepRouter, stepsFromLogits } from './model/router/route.ts'
export { joinTraces } from './model/trace.ts'
export { MoeModel } from './model/transformer.ts'
export { Tokenizer } from './tokenizer/tokenizer.ts'
export * from './trace/analyse.ts'
export * from './trace/csv.ts'
export * from './trace/decision.ts'
export * from './trace/heatmap.ts'
export * from './trace/html.ts'
export * from './trace/json.ts'
export * from './trace/statistics.ts'
export { stepsOf } from './trace/steps-of.ts'
