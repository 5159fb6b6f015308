import type { ModelConfig } from '../model/config.ts'

/**
 * Every tensor that a checkpoint of this config holds, by our name, with its on-disk shape (a linear weight is stored
 * [out, in]). `stacked` is the layout that keeps all experts of a layer in two tensors.
 */
export function expectedTensors(config: ModelConfig, stacked: boolean): Map<string, number[]> {
  const { vocabSize: V, hiddenSize: D } = config
  const expected = new Map<string, number[]>([['embedding', [V, D]]])
  config.layers.forEach((layer, i) => {
    const block = `blocks.${i}`
    expected.set(`${block}.attentionNorm`, [D])
    expected.set(`${block}.feedForwardNorm`, [D])
    for (const [name, shape] of attentionTensors(config)) expected.set(`${block}.attention.${name}`, shape)
    const H = layer.intermediateSize
    if (layer.kind === 'dense') {
      for (const [name, shape] of swigluTensors(D, H, layer.bias)) expected.set(`${block}.mlp.${name}`, shape)
      return
    }
    const E = layer.router.numExperts
    expected.set(`${block}.moe.router`, [E, D])
    if (layer.router.scoreBias) expected.set(`${block}.moe.scoreBias`, [E])
    if (layer.sharedExpert) {
      const shared = swigluTensors(D, layer.sharedExpert.intermediateSize, false)
      for (const [name, shape] of shared) expected.set(`${block}.moe.shared.${name}`, shape)
    }
    if (stacked) {
      expected.set(`${block}.moe.stacked.gateUp`, [E, 2 * H, D])
      expected.set(`${block}.moe.stacked.down`, [E, D, H])
      return
    }
    for (let e = 0; e < E; e++) {
      for (const [name, shape] of swigluTensors(D, H, false))
        expected.set(`${block}.moe.experts.${e}.${name}`, shape)
    }
  })
  expected.set('finalNorm', [D])
  if (!config.tieWordEmbeddings) expected.set('unembedding', [V, D])
  return expected
}

function attentionTensors({ attention, hiddenSize: D }: ModelConfig): [string, number[]][] {
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
