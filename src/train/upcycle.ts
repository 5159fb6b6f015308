import { type ExportOptions, type StoredModel, type WriteHooks, withStored } from '../checkpoint/export.ts'
import { checkpointSteps, DTYPE_NAMES } from '../checkpoint/save.ts'
import { InputError } from '../errors.ts'
import { formatted } from '../families/index.ts'
import { type LayerConfig, type ModelConfig, softmaxTopK } from '../model/config.ts'
import { initialValues } from './initialize.ts'

export interface UpcycleOptions extends ExportOptions {
  /** E */
  experts: number
  /** K */
  topK: number
  /** Of the routers, which know nothing yet. */
  seed: number
}

/**
 * Sparse upcycling (Komatsuzaki et al. 2023, arXiv 2212.05055): a dense Llama as a Mixtral whose experts are all copies of its
 * feed-forward. A token's weights sum to one, so that it gives the same logits until it is trained.
 * @throws InputError where the model is not dense, or has biases, which Mixtral has not
 */
export function upcycleModel(
  dir: string,
  out: string,
  { experts, topK, seed, ...options }: UpcycleOptions,
  hooks?: WriteHooks,
): Promise<string[]> {
  const steps = (dense: StoredModel) => {
    const config = mixtureOf(dense.config, experts, topK, dir)
    const json = { ...formatted(config), dtype: DTYPE_NAMES[options.dtype] }
    const values = (ours: string, shape: number[]) =>
      ours.endsWith('.router')
        ? initialValues({ name: ours, shape }, config, seed)
        : dense.values(ours.replace(/\.moe\.experts\.\d+\./, '.mlp.'), shape)
    return checkpointSteps(out, config, options, values, { 'config.json': json })
  }
  return withStored(dir, out, steps, hooks)
}

function mixtureOf(dense: ModelConfig, experts: number, topK: number, dir: string): ModelConfig {
  const refuse = (what: string) =>
    new InputError(`${dir}: ${what}, expected a dense model of family llama without biases`)
  if (dense.family !== 'llama') throw refuse(`is of family ${dense.family}`)
  const layers = dense.layers.map(({ attention, feedForward }): LayerConfig => {
    if (feedForward.kind !== 'dense' || feedForward.bias || attention.bias) throw refuse('has biases')
    const { intermediateSize } = feedForward
    return { attention, feedForward: { kind: 'moe', intermediateSize, router: softmaxTopK(experts, topK) } }
  })
  return { ...dense, family: 'mixtral', layers }
}
