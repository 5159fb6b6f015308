import * as tf from '@tensorflow/tfjs-core'
import { activeTensorflow } from '../backend/tensorflow.ts'
import { tensorflowOps } from '../backend/tensorflow-ops.ts'
import { DATA_TYPES, nodeOf } from '../graph/protobuf.ts'
import { type Recorder, type Recording, record } from '../graph/recorder.ts'
import { mixtureLayers } from '../model/config.ts'
import type { MoeModel } from '../model/transformer.ts'
import { type Differentiated, differentiate } from './gradients.ts'
import { decays, type Parameter } from './parameters.ts'
import type { TrainSettings } from './settings.ts'

/** What a graph of a step has in variables. */
export interface TrainedTensors {
  model: MoeModel
  parameters: Parameter[]
  /** Of each parameter the running means of its gradient and of its square. */
  moments: { first: tf.Tensor; second: tf.Tensor }[]
  /** The choosing bias [E] of each mixture layer, null where there is none. */
  biases: (tf.Tensor1D | null)[]
}

type StepSettings = Pick<TrainSettings, 'rows' | 'length' | 'lossWeights' | 'adamw' | 'clipNorm' | 'biasRate'>

/**
 * A step as a graph, recorded from the eager one: forward, losses, gradients, clipping, AdamW and balancing. `parts`: into how many
 * the sequences are cut, whose nodes TensorFlow runs side by side. Inputs: `tokens` and `targets` [B T], and of the step the scalars
 * `rate` (the learning rate over what corrects the moments' bias), `epsilon`, and `kept` (of a matrix, where weights decay).
 * What may be fetched, and runs as far as it needs:
 *
 * - `crossEntropy`
 * - `numbers` [5]: loss, cross-entropy, the norm of all gradients, and with mixture layers balance and z losses
 * - `moved`: the same, after everything has moved; the run fails before that where the loss is not finite
 * - `LAYER/load` [E], the assignments of each expert, and `LAYER/expertIndices` [B T, K]
 * - `gradients/I` of each parameter
 *
 * @throws Error naming the op that cannot be recorded, or the parameter that has no gradient
 */
export function recordTraining(trained: TrainedTensors, settings: StepSettings, parts: number): Recording {
  const { model, parameters, moments, biases } = trained
  const { rows, length, lossWeights } = settings
  const variables = [
    ...parameters.map(({ variable }) => variable),
    ...moments.flatMap(({ first, second }) => [first, second]),
    ...biases.flatMap((bias) => bias ?? []),
  ]
  const dataIds = new Set(variables.map(({ dataId }) => dataId))
  const mixtures = mixtureLayers(model.config)
  const onDevice = { choosingBias: (layer: number) => biases[mixtures.indexOf(layer)] }
  const inputs = {
    tokens: tf.zeros<tf.Rank.R1>([rows * length], 'int32'),
    targets: tf.zeros<tf.Rank.R1>([rows * length], 'int32'),
    ...{ rate: tf.scalar(0), epsilon: tf.scalar(1), kept: tf.scalar(1) },
  }
  let made: Differentiated | undefined
  const build = (recorder: Recorder) => {
    const cut = (x: tf.Tensor1D) => (parts === 1 ? [x] : tf.split<tf.Tensor1D>(x, parts))
    const batch = { batch: rows / parts, tokens: cut(inputs.tokens), targets: cut(inputs.targets) }
    const of = differentiate(model, parameters, batch, lossWeights, { onDevice })
    made = of
    const gradients = parameters.map(({ name, variable }) => {
      const gradient = of.gradients[variable.name]
      if (!gradient) throw new Error(`recording: ${name} has no gradient`)
      return gradient
    })
    const norm = normOf(gradients)
    const numbers = tf.stack([
      ...[of.loss, of.crossEntropy[0], norm],
      ...[of.balance, of.z].filter(({ length }) => length > 0).map((each) => tf.mean(tf.stack(each))),
    ])
    const load = of.layers.map(({ tokensPerExpert }) => tf.addN(tokensPerExpert))
    const moving = new Moving(recorder, trained, settings, inputs)
    return {
      crossEntropy: of.crossEntropy[0],
      numbers,
      moved: moving.after(numbers, { loss: of.loss, norm, gradients, load }),
      ...routed(of, load, mixtures),
      ...Object.fromEntries(gradients.map((gradient, i) => [`gradients/${i}`, gradient])),
    }
  }
  try {
    return record(inputs, build, { isVariable: ({ dataId }) => dataIds.has(dataId) })
  } finally {
    tf.dispose(made as unknown as tf.TensorContainer)
  }
}

function routed(
  { layers }: Differentiated,
  load: tf.Tensor[],
  mixtures: number[],
): Record<string, tf.Tensor> {
  const each = layers.flatMap(({ expertIndices }, i) => [
    [`${mixtures[i]}/load`, load[i]],
    [`${mixtures[i]}/expertIndices`, tf.concat(expertIndices, 0)],
  ])
  return Object.fromEntries(each)
}

/** Of all numbers together. */
function normOf(gradients: tf.Tensor[]): tf.Scalar {
  const ops = tensorflowOps(activeTensorflow())
  return tf.sqrt(tf.mul(tf.addN(gradients.map((gradient) => ops.halfSquares(gradient))), 2))
}

const FLOAT = { type: DATA_TYPES.float32 }

/** The nodes by which a step moves what it trains. */
class Moving {
  private readonly zero: string
  private readonly beta1: string
  private readonly beta2: string

  constructor(
    private readonly recorder: Recorder,
    private readonly trained: TrainedTensors,
    private readonly settings: StepSettings,
    private readonly inputs: Record<'rate' | 'epsilon' | 'kept', tf.Tensor>,
  ) {
    const scalar = (value: number) => recorder.constant('float32', [], Float32Array.of(value))
    this.zero = scalar(0)
    this.beta1 = scalar(settings.adamw.beta1)
    this.beta2 = scalar(settings.adamw.beta2)
  }

  /** `numbers` when all has moved; nothing has if the loss is not finite. */
  after(
    numbers: tf.Tensor,
    of: { loss: tf.Tensor; norm: tf.Tensor; gradients: tf.Tensor[]; load: tf.Tensor1D[] },
  ): tf.Tensor {
    const { recorder, trained, settings } = this
    const message = { s: Buffer.from('the loss') }
    const finite = recorder.emit('CheckNumerics', [recorder.ref(of.loss)], { T: FLOAT, message })
    const scale = tf.div(settings.clipNorm, tf.maximum(of.norm, settings.clipNorm))
    this.bindAfter(scale, [finite])
    const moved = [
      ...of.gradients.map((gradient, i) => this.parameter(i, tf.mul(gradient, scale), finite)),
      ...trained.biases.flatMap((bias, i) => (bias ? [this.bias(bias, of.load[i], finite)] : [])),
    ]
    return this.bindAfter(tf.add(numbers, 0), moved)
  }

  /** AdamW with the weight decay apart from the gradient, as in adamw.ts. */
  private parameter(i: number, gradient: tf.Tensor, after: string): string {
    const { recorder, inputs, trained } = this
    const parameter = trained.parameters[i]
    const { variable } = parameter
    const { first, second } = trained.moments[i]
    const handles = [variable, first, second].map((tensor) => {
      recorder.ref(tensor)
      return recorder.handle(tensor)
    })
    const kept = () => this.bindAfter(tf.mul(variable, inputs.kept), [after])
    const decayed = decays(parameter) ? [this.assign(variable, kept())] : []
    return recorder.emit(
      'ResourceApplyAdam',
      [
        ...handles,
        ...[
          this.zero,
          this.zero,
          recorder.ref(inputs.rate),
          this.beta1,
          this.beta2,
          recorder.ref(inputs.epsilon),
        ],
        ...[recorder.ref(gradient), ...decayed.map((node) => `^${node}`)],
      ],
      { T: FLOAT, use_locking: { b: false }, use_nesterov: { b: false } },
    )
  }

  /** As `updateScoreBias`. */
  private bias(bias: tf.Tensor1D, load: tf.Tensor1D, after: string): string {
    const step = tf.mul(tf.sign(tf.sub(tf.mean(load), load)), this.settings.biasRate ?? 0)
    return this.assign(bias, this.bindAfter(tf.add(bias, step), [after]))
  }

  private assign(variable: tf.Tensor, value: tf.Tensor): string {
    const { recorder } = this
    const refs = [recorder.handle(variable), recorder.ref(value)]
    return recorder.emit('AssignVariableOp', refs, { dtype: FLOAT })
  }

  /** Makes a tensor one that is there only when nodes have run. */
  private bindAfter<X extends tf.Tensor>(x: X, nodes: string[]): X {
    const { recorder } = this
    const after = nodes.map((node) => `^${nodeOf(node)}`)
    return recorder.bind(x, recorder.emit('Identity', [recorder.ref(x), ...after], { T: FLOAT }))
  }
}
