import type { AttentionConfig, ModelConfig } from '../model/config.ts'

/**
 * Every tensor that a checkpoint of this config holds, by our name, with its on-disk shape (a linear weight is stored
 * [out, in]). `stacked` is the layout that keeps all experts of a layer in two tensors. One after the other, since a wrong
 * config may ask for more than memory holds.
 */
export function* expectedTensors(config: ModelConfig, stacked: boolean): Generator<[string, number[]]> {
  const { vocabSize: V, hiddenSize: D } = config
  yield ['embedding', [V, D]]
  for (const [i, { attention, feedForward: layer }] of config.layers.entries()) {
    const block = `blocks.${i}`
    yield [`${block}.attentionNorm`, [D]]
    yield [`${block}.feedForwardNorm`, [D]]
    yield* within(`${block}.attention`, attentionTensors(attention, D))
    const H = layer.intermediateSize
    if (layer.kind === 'dense') {
      yield* within(`${block}.mlp`, swigluTensors(D, H, layer.bias))
      continue
    }
    const E = layer.router.numExperts
    yield [`${block}.moe.router`, [E, D]]
    if (layer.router.scoreBias) yield [`${block}.moe.scoreBias`, [E]]
    if (layer.sharedExpert) {
      yield* within(`${block}.moe.shared`, swigluTensors(D, layer.sharedExpert.intermediateSize, false))
    }
    if (stacked) {
      yield [`${block}.moe.stacked.gateUp`, [E, 2 * H, D]]
      yield [`${block}.moe.stacked.down`, [E, D, H]]
      continue
    }
    for (let e = 0; e < E; e++) yield* within(`${block}.moe.experts.${e}`, swigluTensors(D, H, false))
  }
  yield ['finalNorm', [D]]
  if (!config.tieWordEmbeddings) yield ['unembedding', [V, D]]
}

function within(prefix: string, tensors: [string, number[]][]): [string, number[]][] {
  return tensors.map(([name, shape]) => [`${prefix}.${name}`, shape])
}

function attentionTensors(attention: AttentionConfig, D: number): [string, number[]][] {
  const { numHeads, numKeyValueHeads, headDim, bias, outputBias, qkNorm } = attention
  const wide = numHeads * headDim
  const narrow = numKeyValueHeads * headDim
  const inputs: [string, number[]][] = [
    ['q', [wide, D]],
    ['k', [narrow, D]],
    ['v', [narrow, D]],
  ]
  const output: [string, number[]] = ['o', [D, wide]]
  const norms: [string, number[]][] = [
    ['qNorm', [headDim]],
    ['kNorm', [headDim]],
  ]
  return [
    ...(bias ? inputs.flatMap(([name, shape]) => withBias(name, shape)) : inputs),
    ...(bias && outputBias !== false ? withBias(...output) : [output]),
    ...(qkNorm ? norms : []),
  ]
}

function swigluTensors(D: number, H: number, bias: boolean): [string, number[]][] {
  const weights: [string, number[]][] = [
    ['gate', [H, D]],
    ['up', [H, D]],
    ['down', [D, H]],
  ]
  return bias ? weights.flatMap(([name, shape]) => withBias(name, shape)) : weights
}

function withBias(name: string, shape: number[]): [string, number[]][] {
  return [
    [name, shape],
    [`${name}.bias`, [shape[0]]],
  ]
}

/** Values in a tensor of this shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1)
}
