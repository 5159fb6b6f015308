import * as tf from '@tensorflow/tfjs-core'
import { DeviceError, TinymoeError } from '../errors.ts'
import { type ModelConfig, mixturesOf } from '../model/config.ts'
import { MoeModel } from '../model/transformer.ts'
import type { ModelWeights } from '../model/weights.ts'
import { mean, sum } from '../sums.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { adamwStep, clipByGlobalNorm, type Moments, zeroMoments } from './adamw.ts'
import { Batches } from './batches.ts'
import { evaluate, gradientsOf } from './gradients.ts'
import { updateScoreBias } from './losses.ts'
import { type Parameter, trainable, upload } from './parameters.ts'
import { learningRate } from './schedule.ts'
import type { TrainSettings } from './settings.ts'
import type { TextSource } from './texts.ts'

export type StepResult = Awaited<ReturnType<Trainer['train']>>
export type ValidationResult = Awaited<ReturnType<Trainer['validate']>>

/** Without these gradients registered (they come with tfjs-node) nothing can be trained. */
const NEEDED_GRADIENT = 'BatchMatMul'

/** A model in training: its weights, what the optimizer remembers, and the step it has come to. Owns its tensors. */
export class Trainer {
  readonly model: MoeModel
  readonly parameters: Parameter[]
  /** One pair a parameter, in the same order. */
  readonly moments: Moments[]
  private readonly batches: Batches

  /**
   * Takes over `weights`. A training that goes on gives its `step`, and fills `moments` afterwards.
   * @throws DeviceError on a backend without gradients
   */
  constructor(
    public settings: TrainSettings,
    config: ModelConfig,
    weights: ModelWeights,
    private readonly texts: TextSource,
    tokenizer: Tokenizer,
    public step = 0,
  ) {
    if (!tf.getGradient(NEEDED_GRADIENT)) {
      throw new DeviceError(
        'training needs TensorFlow (device cuda or cpu), for gradients come with it: run `tinymoe setup`',
      )
    }
    const { weights: variables, parameters } = trainable(weights)
    this.parameters = parameters
    this.model = new MoeModel(config, variables)
    this.moments = parameters.map(({ values }) => zeroMoments(values.length))
    this.batches = new Batches(texts, tokenizer, settings, settings.seed)
  }

  /**
   * One step: batch, gradients, clipping, AdamW, balancing.
   * @throws TinymoeError where the loss is no number; the weights are then as before the step
   */
  async train() {
    const { settings, parameters, moments } = this
    const { gradients, load, ...losses } = await this.gradients(this.step)
    if (!Number.isFinite(losses.loss)) {
      throw new TinymoeError(
        `step ${this.step + 1}: the loss is ${losses.loss}; a lower --learning-rate may keep it finite`,
      )
    }
    const gradientNorm = clipByGlobalNorm(gradients, settings.clipNorm)
    const rate = learningRate(this.step, {
      ...settings,
      peak: settings.peakLearningRate,
      floor: settings.learningRateFloor,
    })
    this.step++
    parameters.forEach((parameter, i) => {
      const weightDecay = parameter.shape.length > 1 ? settings.adamw.weightDecay : 0 // norms and biases keep their size
      const adamw = { ...settings.adamw, weightDecay }
      adamwStep(parameter.values, gradients[i], moments[i], this.step, rate, adamw)
      upload(parameter)
    })
    if (settings.biasRate !== null) this.balance(load, settings.biasRate)
    return {
      /** From 1: the steps done. */
      step: this.step,
      ...losses,
      learningRate: rate,
      /** Of all gradients together, before clipping. */
      gradientNorm,
      /** Share of the assignments that each expert got [E], a row for each mixture layer. */
      load: load.map(shares),
    }
  }

  /** Seconds of one step, measured without taking it: the first run, which is slower, does not count. */
  async secondsPerStep(): Promise<number> {
    const samples = 3
    await this.gradients(this.step)
    const start = performance.now()
    for (let i = 0; i < samples; i++) await this.gradients(this.step + i)
    return (performance.now() - start) / 1000 / samples
  }

  /** Cross-entropy on the validation texts, domain by domain. */
  async validate() {
    const { domains } = this.texts
    const losses: number[] = []
    for (const domain of domains) losses.push(evaluate(this.model, await this.batches.validation(domain)))
    return {
      step: this.step,
      /** Nats a token, mean of the domains. */
      validation: mean(losses),
      byDomain: Object.fromEntries(domains.map((domain, i): [string, number] => [domain, losses[i]])),
    }
  }

  dispose(): void {
    this.model.dispose()
  }

  private async gradients(step: number) {
    const { model, parameters, settings } = this
    return gradientsOf(model, parameters, await this.batches.training(step), settings.lossWeights)
  }

  private balance(load: Int32Array[], rate: number): void {
    const { blocks } = this.model.weights
    mixturesOf(blocks).forEach(({ scoreBias }, i) => {
      if (scoreBias) updateScoreBias(scoreBias, load[i], rate)
    })
  }
}

/** E of the mixture layers; empty for a dense model. */
export function expertCounts({ layers }: ModelConfig): number[] {
  return mixturesOf(layers).map(({ router }) => router.numExperts)
}

function shares(counts: Int32Array): number[] {
  const total = sum(counts)
  return Array.from(counts, (count) => count / total)
}
