import type { AttentionShape } from '../config.ts'
import { type Described, ExpertStack, linear, type Named, type TensorSpec, tensor } from '../tensor-spec.ts'
import type { AttentionWeights } from '../weights.ts'

type Shape<Kind> = Extract<AttentionShape, { kind: Kind }>

/** The tensors of each kind of attention, those that are only counted included. */
export const ATTENTION_TENSORS: {
  [Kind in AttentionShape['kind']]: (shape: Shape<Kind>, prefix: string, D: number) => object
} = {
  grouped(shape, prefix, D): Described<AttentionWeights> & { sinks?: TensorSpec } {
    const { numHeads, numKeyValueHeads, headDim, bias, outputBias = true, qkNorm, sinks } = shape
    const wide = numHeads * headDim
    const narrow = numKeyValueHeads * headDim
    const inputs: Named[] = [
      [`${prefix}.q`, [wide, D]],
      [`${prefix}.k`, [narrow, D]],
      [`${prefix}.v`, [narrow, D]],
    ]
    const norm = (name: string, width: number) =>
      tensor('norms', `${prefix}.${name}`, [qkNorm === 'per-head' ? headDim : width])
    return {
      qkv: linear('attention', 'transposed', inputs, bias),
      output: linear('attention', 'transposed', [[`${prefix}.o`, [D, wide]]], bias && outputBias),
      qkNorm: qkNorm && { query: norm('qNorm', wide), key: norm('kNorm', narrow) },
      ...(sinks && { sinks: tensor('attention', `${prefix}.sinks`, [numHeads]) }),
    }
  },
  latent({ numHeads, queryRank, keyValueRank, nopeDim, ropeDim, valueDim }, prefix, D) {
    const matrix = (name: string, shape: number[]) =>
      linear('attention', 'transposed', [[`${prefix}.${name}`, shape]])
    const queries = numHeads * (nopeDim + ropeDim)
    const compressed = queryRank !== null && {
      queryDown: matrix('qDown', [queryRank, D]),
      queryNorm: tensor('norms', `${prefix}.qNorm`, [queryRank]),
    }
    return {
      ...compressed,
      query: matrix('q', [queries, queryRank ?? D]),
      keyValueDown: matrix('kvDown', [keyValueRank + ropeDim, D]),
      keyValueNorm: tensor('norms', `${prefix}.kvNorm`, [keyValueRank]),
      keyValue: matrix('kv', [numHeads * (nopeDim + valueDim), keyValueRank]),
      output: matrix('o', [D, numHeads * valueDim]),
    }
  },
  mixture({ numExperts: E, topK, headsPerExpert, headDim }, prefix, D) {
    const width = headsPerExpert * headDim
    const keysValues: Named[] = [
      [`${prefix}.k`, [width, D]],
      [`${prefix}.v`, [width, D]],
    ]
    const expert = (name: string) => ({
      query: linear('attention', 'transposed', [[`${name}.q`, [width, D]]]),
      output: linear('attention', 'transposed', [[`${name}.o`, [D, width]]]),
    })
    return {
      router: linear('router', 'transposed', [[`${prefix}.router`, [E, D]]]),
      keysValues: linear('attention', 'transposed', keysValues),
      experts: new ExpertStack('attention', prefix, E, topK, expert),
      bias: tensor('attention', `${prefix}.bias`, [D]),
    }
  },
  linear({ numHeads, headDim }, prefix, D) {
    const width = numHeads * headDim
    const inputs = ['q', 'k', 'v', 'gate'].map((name): Named => [`${prefix}.${name}`, [width, D]])
    return {
      inputs: linear('attention', 'transposed', inputs),
      norm: tensor('norms', `${prefix}.norm`, [width]),
      output: linear('attention', 'transposed', [[`${prefix}.o`, [D, width]]]),
    }
  },
}
