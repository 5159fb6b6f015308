import * as tf from '@tensorflow/tfjs-core'
import { LIMITS } from '../backend/limits.ts'
import { planFor } from '../graph/plan.ts'
import { GraphSession } from '../graph/session.ts'
import type { VariableExchange } from '../graph/sessions.ts'
import { mixtureLayers } from '../model/config.ts'
import { choosingBiases } from '../model/weights.ts'
import { inputsOf, targetsOf } from './gradients.ts'
import { upload } from './parameters.ts'
import { recordTraining, type TrainedTensors } from './recording.ts'
import { lossError, type StepNumbers, type Steps, type Trained } from './steps.ts'

/** A step as one graph, recorded from the eager one when first needed; all that moves is in its session's variables. */
export class RecordedSteps implements Steps {
  private made: { graph: GraphSession; moved: VariableExchange } | null = null
  /** Whether something has moved since it was last brought to the host. */
  private ahead = false

  constructor(private readonly trained: Trained) {}

  step(rows: number[][], t: number, learningRate: number): StepNumbers {
    const { adamw } = this.trained.settings
    const second = Math.sqrt(1 - adamw.beta2 ** t)
    const scalars = {
      rate: (learningRate * second) / (1 - adamw.beta1 ** t),
      epsilon: adamw.epsilon * second,
      kept: 1 - learningRate * adamw.weightDecay,
    }
    try {
      const numbers = this.numbersOf(rows, 'moved', scalars)
      this.ahead = true
      return numbers
    } catch (error) {
      const { loss } = this.numbersOf(rows, 'numbers')
      throw Number.isFinite(loss) ? error : lossError(t, loss)
    }
  }

  rehearse(rows: number[][]): void {
    this.fetch(rows, ['numbers'])
  }

  evaluate(rows: number[][]): number {
    return this.fetch(rows, ['crossEntropy'])[0][0]
  }

  /** What is fetched of the graph, by the names that `recordTraining` has. */
  fetch(
    rows: number[][],
    names: string[],
    { rate, epsilon, kept }: Record<'rate' | 'epsilon' | 'kept', number> = { rate: 0, epsilon: 1, kept: 1 },
  ): (Float32Array | Int32Array)[] {
    const [tokens, targets] = [inputsOf(rows), targetsOf(rows)]
    const scalar = (value: number) => Float32Array.of(value)
    const scalars = { rate: scalar(rate), epsilon: scalar(epsilon), kept: scalar(kept) }
    const results = this.graph.fetch({ tokens, targets, ...scalars }, names)
    return results.map(({ data }) => data as Float32Array | Int32Array)
  }

  toHost(): void {
    if (!this.ahead || !this.made) return
    const { parameters, moments, model } = this.trained
    const biases = choosingBiases(model.weights).flatMap((bias) => bias ?? [])
    const targets = [
      ...parameters.flatMap(({ values }, i) => [values, moments[i].first, moments[i].second]),
      ...biases,
    ]
    for (const [i, { data }] of this.made.moved.take().entries()) targets[i].set(data)
    for (const parameter of parameters) upload(parameter)
    this.ahead = false
  }

  dispose(): void {
    this.made?.graph.dispose()
    this.made = null
  }

  private numbersOf(
    rows: number[][],
    which: 'moved' | 'numbers',
    scalars?: Parameters<RecordedSteps['fetch']>[2],
  ): StepNumbers {
    const loads = mixtureLayers(this.trained.model.config).map((layer) => `${layer}/load`)
    const [numbers, ...load] = this.fetch(rows, [which, ...loads], scalars)
    const [loss, crossEntropy, gradientNorm, balance = null, z = null] = numbers
    return {
      loss,
      crossEntropy,
      balance,
      z,
      gradientNorm,
      load: load.map((counts) => Int32Array.from(counts)),
    }
  }

  private get graph(): GraphSession {
    this.made ??= this.make()
    return this.made.graph
  }

  private make(): { graph: GraphSession; moved: VariableExchange } {
    const { model, parameters, moments, settings } = this.trained
    const scope = tf.engine()
    scope.startScope('recording')
    try {
      const tensors: TrainedTensors = {
        model,
        parameters,
        moments: moments.map(({ first, second }, i) => ({
          first: tf.tensor(first.slice(), parameters[i].shape),
          second: tf.tensor(second.slice(), parameters[i].shape),
        })),
        biases: choosingBiases(model.weights).map((bias) => bias && tf.tensor1d(bias.slice())),
      }
      const plan = planFor({ rows: settings.rows * settings.length })
      const parts = partsOf(settings.rows, plan.threads)
      const recording = recordTraining(tensors, settings, parts)
      const graph = new GraphSession(recording, plan)
      const ofTensor = new Map(recording.variables.map((variable) => [variable.tensor.dataId, variable]))
      const moving = [
        ...parameters.flatMap(({ variable }, i) => [
          variable,
          tensors.moments[i].first,
          tensors.moments[i].second,
        ]),
        ...tensors.biases.flatMap((bias) => bias ?? []),
      ]
      return { graph, moved: graph.exchange(moving.map(({ dataId }) => ofTensor.get(dataId)!)) }
    } finally {
      scope.endScope()
    }
  }
}

/** Parts that sequences are cut into: one a thread where nodes run side by side, or fewer where they do not come out even. */
function partsOf(rows: number, threads: number): number {
  const asked = threads > LIMITS.nodeThreads ? 1 : threads
  return [4, 3, 2].find((parts) => parts <= asked && rows % parts === 0) ?? 1
}
