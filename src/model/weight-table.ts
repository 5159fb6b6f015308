import { attentionFacts } from './attention/facts.ts'
import type { FeedForwardShape, LayerShape, ModelShape, MoeShape } from './config.ts'
import { type Described, Describer, type ExpertStack, TensorSpec } from './tensor-spec.ts'
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
  const { vocabSize: V, hiddenSize: D, tieWordEmbeddings, unembeddingBias, layers, norms } = model
  const unembedding = new Describer('', 'unembedding')
  return {
    embedding: new Describer('', 'embedding').tensor('embedding', [V, D]),
    blocks: layers.map((layer, i) => blockTable(`blocks.${i}`, layer, model)),
    finalNorm: new Describer('', 'norms').norm('finalNorm', D, norms?.bias),
    unembedding: tieWordEmbeddings ? null : unembedding.linear({ unembedding: [V, D] }, unembeddingBias),
  }
}

function blockTable(
  prefix: string,
  { attention, feedForward }: LayerShape,
  { hiddenSize: D, norms }: ModelShape,
): Described<BlockWeights> {
  const block = new Describer(prefix, 'norms')
  const norm = (name: string) => block.norm(name, D, norms?.bias)
  const tensors = attentionFacts(attention).tensors(attention, D, block.inside('attention', 'attention'))
  return {
    attentionNorm: norm('attentionNorm'),
    attention: tensors as Described<AttentionWeights>,
    feedForwardNorm: norm('feedForwardNorm'),
    feedForward: feedForwardTable(feedForward, D, block),
    ...(norms?.perLayer === 4 && { after: [norm('attentionNormAfter'), norm('feedForwardNormAfter')] }),
  }
}

function feedForwardTable(
  feedForward: FeedForwardShape,
  D: number,
  block: Describer,
): Described<DenseWeights | MoeWeights> {
  if (feedForward.kind === 'moe') return mixtureTable(feedForward, D, block)
  const { intermediateSize: H, bias } = feedForward
  return { kind: 'dense', expert: swiglu(D, H, block.inside('mlp', 'dense'), bias) }
}

function mixtureTable(config: MoeShape, D: number, block: Describer): Described<MoeWeights> {
  const { router, intermediateSize: H, sharedExpert, expertBias, outputBias } = config
  const { numExperts: E, topK: K } = router
  const ofRouter = block.inside('moe', 'router')
  const ofExperts = block.inside('moe', 'experts')
  const ofShared = block.inside('moe', 'sharedExperts')
  return {
    kind: 'moe',
    router: ofRouter.linear({ router: [E, D] }, router.bias),
    scoreBias: router.scoreBias ? ofRouter.tensor('scoreBias', [E], 'host') : null,
    experts: ofExperts.experts(E, K, (expert) => swiglu(D, H, expert, expertBias)),
    shared:
      sharedExpert && swiglu(D, sharedExpert.intermediateSize, ofShared.inside('shared'), sharedExpert.bias),
    sharedGate: sharedExpert?.gate ? ofShared.tensor('sharedGate', [1, D]) : undefined,
    ...(outputBias && { outputBias: ofExperts.tensor('bias', [D]) }),
  }
}

function swiglu(D: number, H: number, names: Describer, bias?: boolean): Described<ExpertWeights> {
  return {
    gateUp: names.linear({ gate: [H, D], up: [H, D] }, bias, 'joined'),
    down: names.linear({ down: [D, H] }, bias, 'joined'),
  }
}

/**
 * The table's tensors in the model's order, each with its path in `ModelWeights` and of how many experts it is one (1 for what
 * is no expert's). Those of one expert after the other: a wrong config may ask for more than memory holds.
 */
export function* tensorSpecs(table: WeightTable): Generator<[path: string, TensorSpec, experts: number]> {
  for (const [path, leaf] of leaves<TensorSpec | ExpertStack>(table)) {
    if (leaf instanceof TensorSpec) yield [path, leaf, 1]
    else {
      for (let e = 0; e < leaf.count; e++)
        for (const [inside, spec] of leaves<TensorSpec>(leaf.each(e), `${path}.${e}`))
          yield [inside, spec, leaf.count]
    }
  }
}
