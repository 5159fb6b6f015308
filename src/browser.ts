/**
 * Public API where there is no Node: a model from a web server, or from files in memory, on the tfjs backend that the caller
 * has started. Nothing here imports Node's modules or names its globals (tests/browser.test.ts).
 */

import { loadWeights } from './checkpoint/load.ts'
import type { LoadProgress } from './checkpoint/pack.ts'
import { readCheckpoint } from './checkpoint/shards.ts'
import type { ModelFiles } from './checkpoint/source.ts'
import { ConfigError, messageOf } from './errors.ts'
import { runnableConfig } from './families/index.ts'
import type { DispatchName } from './model/dispatch/index.ts'
import { MoeModel } from './model/transformer.ts'
import { javascriptLibrary } from './tokenizer/javascript.ts'
import * as tokenizers from './tokenizer/open.ts'
import type { Tokenizer } from './tokenizer/tokenizer.ts'

/**
 * A model from its directory, wherever that lies.
 * @throws ConfigError or CheckpointError, each one sentence
 */
export function readModel(
  files: ModelFiles,
  { dispatch, onProgress }: { dispatch?: DispatchName | 'auto'; onProgress?: LoadProgress } = {},
): MoeModel {
  const file = files.at('config.json')
  if (!files.has('config.json')) throw new ConfigError(`${file}: not found, expected the model's config`)
  const json = readJson(file, files.bytes('config.json'))
  const { config, family } = runnableConfig(json, file)
  const checkpoint = readCheckpoint(files)
  try {
    return new MoeModel(config, loadWeights(checkpoint, config, family, onProgress), dispatch)
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

function readJson(file: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch (error) {
    throw new ConfigError(`${file}: not JSON (${messageOf(error)})`, { cause: error })
  }
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
