import { ATTENTION_TENSORS } from './attention/tensors.ts'
import type { AttentionShape, FeedForwardShape, LayerShape, ModelShape, MoeShape } from './config.ts'
import {
  type Described,
  ExpertStack,
  linear,
  type ModelPart,
  type Named,
  type StoredTensor,
  TensorSpec,
  tensor,
} from './tensor-spec.ts'
import { leaves } from './tree.ts'
import type {
  AttentionWeights,
  BlockWeights,
  DenseWeights,
  ExpertWeights,
  ModelWeights,
  MoeWeights,
} from './weights.ts'

/** `ModelWeights` with a description in the place of each tensor. */
export type WeightTable = Described<ModelWeights>

/**
 * The one table of a model's tensors: loading, saving, training and counting go by it. Names are ours, a family translates
 * them. Small whatever the config asks for, since experts are described when asked for. What can only be counted has other
 * entries beside or in the place of those that `ModelWeights` knows.
 */
export function weightTable(model: ModelShape): WeightTable {
  const { vocabSize: V, hiddenSize: D, tieWordEmbeddings, layers } = model
  return {
    embedding: tensor('embedding', 'embedding', [V, D]),
    blocks: layers.map((layer, i) => blockTable(`blocks.${i}`, layer, model)),
    finalNorm: norm('finalNorm', model),
    unembedding: tieWordEmbeddings ? null : linear('unembedding', 'transposed', [['unembedding', [V, D]]]),
  }
}

function blockTable(
  block: string,
  { attention, feedForward }: LayerShape,
  model: ModelShape,
): Described<BlockWeights> {
  const D = model.hiddenSize
  const after = (model.norms?.perLayer ?? 2) > 2 ? ['attentionNormAfter', 'feedForwardNormAfter'] : []
  return {
    attentionNorm: norm(`${block}.attentionNorm`, model),
    attention: attentionTable(attention, `${block}.attention`, D),
    feedForwardNorm: norm(`${block}.feedForwardNorm`, model),
    feedForward: feedForwardTable(feedForward, block, D),
    ...Object.fromEntries(after.map((name) => [name, norm(`${block}.${name}`, model)])),
  }
}

function attentionTable(attention: AttentionShape, prefix: string, D: number): Described<AttentionWeights> {
  const describe = ATTENTION_TENSORS[attention.kind] as (
    shape: AttentionShape,
    prefix: string,
    D: number,
  ) => Described<AttentionWeights>
  return describe(attention, prefix, D)
}

function feedForwardTable(
  feedForward: FeedForwardShape,
  block: string,
  D: number,
): Described<DenseWeights | MoeWeights> {
  if (feedForward.kind === 'moe') return mixtureTable(feedForward, `${block}.moe`, D)
  const { intermediateSize: H, bias } = feedForward
  return { kind: 'dense', expert: swiglu('dense', `${block}.mlp`, D, H, bias) }
}

function mixtureTable(config: MoeShape, prefix: string, D: number): Described<MoeWeights> {
  const { router, intermediateSize: H, sharedExpert, expertBias, outputBias } = config
  const { numExperts: E, topK } = router
  const expert = (name: string) => swiglu('experts', name, D, H, expertBias)
  return {
    kind: 'moe',
    router: linear('router', 'transposed', [[`${prefix}.router`, [E, D]]], router.bias),
    scoreBias: router.scoreBias ? tensor('router', `${prefix}.scoreBias`, [E], 'host') : null,
    experts: new ExpertStack('experts', prefix, E, topK, expert),
    shared: sharedExpert && swiglu('sharedExperts', `${prefix}.shared`, D, sharedExpert.intermediateSize),
    ...(sharedExpert?.gate && { sharedGate: tensor('sharedExperts', `${prefix}.sharedGate`, [1, D]) }),
    ...(outputBias && { outputBias: tensor('experts', `${prefix}.bias`, [D]) }),
  }
}

/** Gate above up in one, and down. */
function swiglu(
  part: ModelPart,
  prefix: string,
  D: number,
  H: number,
  bias?: boolean,
): Described<ExpertWeights> {
  const gateUp: Named[] = [
    [`${prefix}.gate`, [H, D]],
    [`${prefix}.up`, [H, D]],
  ]
  return {
    gateUp: linear(part, 'joined', gateUp, bias),
    down: linear(part, 'joined', [[`${prefix}.down`, [D, H]]], bias),
  }
}

/** A weight [D], and a bias where norms have one. */
function norm(name: string, { hiddenSize: D, norms }: ModelShape): TensorSpec {
  const stored = norms?.bias ? [name, `${name}.bias`] : [name]
  return new TensorSpec(
    'norms',
    stored.map((name) => ({ name, shape: [D] })),
  )
}

/**
 * The table's tensors in the model's order, each with its path in `ModelWeights`; of experts each, or the `stacked` form.
 * One after the other, since a wrong config may ask for more experts than memory holds.
 */
export function* tensorSpecs(table: WeightTable, stacked = false): Generator<[path: string, TensorSpec]> {
  for (const [path, leaf] of leaves<TensorSpec | ExpertStack>(table)) {
    if (leaf instanceof TensorSpec) yield [path, leaf]
    else if (stacked) yield* leaves<TensorSpec>(leaf.whole, path)
    else for (let e = 0; e < leaf.count; e++) yield* leaves<TensorSpec>(leaf.each(e), `${path}.${e}`)
  }
}

/** What a checkpoint holds of the table. */
export function* storedTensors(table: WeightTable, stacked = false): Generator<StoredTensor> {
  for (const [, { stored }] of tensorSpecs(table, stacked)) yield* stored
}
