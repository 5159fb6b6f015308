import * as tf from '@tensorflow/tfjs-core'
import type { HalfDtype } from '../backend/dtypes.ts'
import { DATA_TYPES } from './protobuf.ts'
import { constant, type Recording } from './recorder.ts'
import { GraphSession } from './session.ts'

/**
 * Matrices rounded to half precision, each once however many graphs read it. tfjs has no such type, so two numbers lie in
 * one int32; graphs take them apart again without a copy.
 */
export class HalfWeights {
  private readonly packed = new Map<object, tf.Tensor>()
  private session: GraphSession | null = null

  constructor(readonly dtype: HalfDtype) {}

  /** Two numbers go into one, so their count has to be even. */
  static takes({ size, dtype }: tf.Tensor): boolean {
    return dtype === 'float32' && size % 2 === 0
  }

  /** The numbers of `weight` in order, packed [size / 2] int32. Made when first asked for, and kept. */
  of(weight: tf.Tensor): tf.Tensor {
    const known = this.packed.get(weight.dataId)
    if (known) return known
    this.session ??= new GraphSession(packing(this.dtype))
    const [packed] = this.session.run({ weight }, ['packed'])
    this.packed.set(weight.dataId, tf.keep(packed))
    return packed
  }

  dispose(): void {
    this.session?.dispose()
    this.session = null
    tf.dispose([...this.packed.values()])
    this.packed.clear()
  }
}

/** A graph that rounds a tensor of any shape to nearest, ties to even, and packs it. */
function packing(dtype: HalfDtype): Recording {
  const [FLOAT, HALF, INT] = [DATA_TYPES.float32, DATA_TYPES[dtype], DATA_TYPES.int32].map((type) => ({
    type,
  }))
  return {
    nodes: [
      { name: 'weight', op: 'Placeholder', input: [], attr: { dtype: FLOAT } },
      { name: 'rounded', op: 'Cast', input: ['weight'], attr: { SrcT: FLOAT, DstT: HALF } },
      constant('shape', 'int32', [2], Int32Array.of(-1, 2)),
      { name: 'pairs', op: 'Reshape', input: ['rounded', 'shape'], attr: { T: HALF, Tshape: INT } },
      { name: 'packed', op: 'Bitcast', input: ['pairs'], attr: { T: HALF, type: INT } },
    ],
    products: [],
    inputs: { weight: { shape: [-1], dtype: 'float32' } },
    outputs: { packed: { ref: 'packed', shape: [-1], dtype: 'int32' } },
    variables: [],
  }
}
