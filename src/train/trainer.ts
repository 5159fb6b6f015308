import * as tf from '@tensorflow/tfjs-core'
import { DeviceError } from '../errors.ts'
import { type ModelConfig, mixturesOf } from '../model/config.ts'
import { MoeModel } from '../model/transformer.ts'
import type { ModelWeights } from '../model/weights.ts'
import { mean, sum } from '../sums.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { type Moments, zeroMoments } from './adamw.ts'
import { Batches } from './batches.ts'
import { EagerSteps } from './eager-steps.ts'
import { type Parameter, trainable } from './parameters.ts'
import { RecordedSteps } from './recorded-steps.ts'
import { learningRate } from './schedule.ts'
import { type TrainSettings, warmupSteps } from './settings.ts'
import type { Steps, Trained } from './steps.ts'
import type { TextSource } from './texts.ts'

export type StepResult = Awaited<ReturnType<Trainer['train']>>
export type ValidationResult = Awaited<ReturnType<Trainer['validate']>>

/** Without these gradients registered (they come with tfjs-node) nothing can be trained. */
const NEEDED_GRADIENT = 'BatchMatMul'

/** A model in training: its weights, what the optimizer remembers, and the step it has come to. Owns its tensors. */
export class Trainer {
  private readonly trained: Trained
  private readonly steps: Steps
  private readonly batches: Batches

  /**
   * Takes over `weights`. A training that goes on gives its `step`, and fills `moments` before the next one.
   * @throws DeviceError on a backend without gradients
   */
  constructor(
    settings: TrainSettings,
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
    const moments = parameters.map(({ values }) => zeroMoments(values.length))
    this.trained = { model: new MoeModel(config, variables), parameters, moments, settings }
    this.steps =
      settings.executor === 'recorded' ? new RecordedSteps(this.trained) : new EagerSteps(this.trained)
    this.batches = new Batches(texts, tokenizer, settings, settings.seed)
  }

  get settings(): TrainSettings {
    return this.trained.settings
  }

  /** As the steps have left it. */
  get model(): MoeModel {
    this.steps.toHost()
    return this.trained.model
  }

  get parameters(): Parameter[] {
    this.steps.toHost()
    return this.trained.parameters
  }

  get moments(): Moments[] {
    this.steps.toHost()
    return this.trained.moments
  }

  /** Settles the number of steps before the first one. */
  plan(steps: number): void {
    this.trained.settings = { ...this.settings, steps, warmup: warmupSteps(steps) }
  }

  /**
   * One step: batch, gradients, clipping, AdamW, balancing.
   * @throws TinymoeError where the loss is no number; the weights are then as before the step
   */
  async train() {
    const { settings } = this
    const rate = learningRate(this.step, {
      ...settings,
      peak: settings.peakLearningRate,
      floor: settings.learningRateFloor,
    })
    const rows = await this.batches.training(this.step)
    const { load, ...numbers } = this.steps.step(rows, this.step + 1, rate)
    this.step++
    return {
      /** From 1: the steps done. */
      step: this.step,
      ...numbers,
      learningRate: rate,
      /** Share of the assignments that each expert got [E], a row for each mixture layer. */
      load: load.map(shares),
    }
  }

  /** Seconds of one step, measured without taking it: the first run, which is slower, does not count. */
  async secondsPerStep(): Promise<number> {
    const samples = 3
    this.steps.rehearse(await this.batches.training(this.step))
    const start = performance.now()
    for (let i = 0; i < samples; i++) this.steps.rehearse(await this.batches.training(this.step + i))
    return (performance.now() - start) / 1000 / samples
  }

  /** Cross-entropy on the validation texts, domain by domain. */
  async validate() {
    const { domains } = this.texts
    const losses: number[] = []
    for (const domain of domains) losses.push(this.steps.evaluate(await this.batches.validation(domain)))
    return {
      step: this.step,
      /** Nats a token, mean of the domains. */
      validation: mean(losses),
      byDomain: Object.fromEntries(domains.map((domain, i): [string, number] => [domain, losses[i]])),
    }
  }

  dispose(): void {
    this.steps.dispose()
    this.trained.model.dispose()
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
