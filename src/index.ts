/** Public API: load a model directory, run it, see what its routers chose, continue texts with it. */

export { DTYPES, type Dtype } from './backend/dtypes.ts'
export * from './device/index.ts'
export * from './errors.ts'
export type { MutualInformation } from './eval/mutual-information.ts'
export type { Proportion } from './eval/proportion.ts'
export { type EvalHooks, type EvalOptions, evaluate } from './eval/run.ts'
export type * from './eval/types.ts'
export { generate } from './generate/generate.ts'
export type { GenerationConfig } from './generate/generation-config.ts'
export type * from './generate/types.ts'
export { LoadedModel, type LoadOptions, loadModel, readConfig } from './load-model.ts'
export type {
  AttentionConfig,
  DenseConfig,
  LayerConfig,
  ModelConfig,
  MoeConfig,
  RopeConfig,
  RopeScaling,
  RouterConfig,
} from './model/config.ts'
export { softmaxTopK } from './model/config.ts'
export type { ForwardOptions } from './model/forward-options.ts'
export { KvCache } from './model/kv-cache.ts'
export { interventionFor } from './model/router/interventions.ts'
export { route, stepRouter, stepsFromLogits } from './model/router/route.ts'
export type {
  Intervention,
  Interventions,
  RouteContext,
  RouterLayer,
  RouterPlace,
  RouterStep,
  RouterValue,
  Routing,
} from './model/router/types.ts'
export type { HiddenStates, LayerTrace, RoutingTrace, TraceOptions, TraceRow } from './model/trace.ts'
export { joinTraces } from './model/trace.ts'
export {
  type ForwardResult,
  type GreedyResult,
  MoeModel,
  type Traced,
} from './model/transformer.ts'
export { DISPATCHES, type DispatchName, type Executor } from './model/ways.ts'
export { inspectSetup, type Preparation, type PrepareOptions, prepareTensorflow } from './setup/setup.ts'
export { loadTokenizer } from './tokenizer/load.ts'
export { Tokenizer } from './tokenizer/tokenizer.ts'
export { traceToCsv } from './trace/csv.ts'
export { traceFromJson, traceToJson } from './trace/json.ts'
export { type LayerStatistics, layerStatistics } from './trace/statistics.ts'
export { type SteppedModel, stepsOf } from './trace/steps-of.ts'
