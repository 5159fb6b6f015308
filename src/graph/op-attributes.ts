import type * as tf from '@tensorflow/tfjs-core'
import type { OpAttribute, TfjsNode } from '../backend/tensorflow.ts'

const UNARY = 'Neg Softmax Sigmoid Rsqrt Square Exp Log Abs Sqrt Relu Tanh IsFinite'
const BINARY = 'Mul AddV2 Sub FloorDiv RealDiv Div Maximum Minimum Equal Less Greater Pow'

/**
 * Type attributes that a graph must state and that tfjs-node's kernels sometimes leave out, because eager execution
 * infers them: by attribute the input whose type it is.
 */
const INFERRED: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  ...Object.fromEntries([...UNARY.split(' '), ...BINARY.split(' ')].map((op) => [op, { T: 0 }])),
  ExpandDims: { T: 0, Tdim: 1 },
  Reshape: { T: 0, Tshape: 1 },
  Transpose: { T: 0, Tperm: 1 },
  Tile: { T: 0, Tmultiples: 1 },
  Cast: { SrcT: 0 },
  SelectV2: { T: 1 },
  Select: { T: 1 },
  Fill: { T: 1, index_type: 0 },
  Range: { Tidx: 0 },
}

/** The type attributes that `op` needs and `given` has not. */
export function missingAttributes(
  op: string,
  given: OpAttribute[],
  inputs: tf.Tensor[],
  binding: TfjsNode['binding'],
): OpAttribute[] {
  const enums: Record<string, number> = {
    float32: binding.TF_FLOAT,
    int32: binding.TF_INT32,
    bool: binding.TF_BOOL,
  }
  return Object.entries(INFERRED[op] ?? {})
    .filter(([name]) => !given.some((attribute) => attribute.name === name))
    .map(([name, input]) => ({ name, type: binding.TF_ATTR_TYPE, value: enums[inputs[input].dtype] }))
}
