import models from '../../cost/published.json' with { type: 'json' }
import { type PublishedModel, publishedShape } from '../../cost/published.ts'
import { DEEPSEEK_V3, H800_PEAK } from '../../cost/report.ts'
import { type TrainingCost, type TrainingRun, trainingCost, trainingFlops } from '../../cost/training.ts'

/** The models whose owners published their shapes, as `tinymoe inspect` lists them. */
export const PUBLISHED = models as unknown as readonly PublishedModel[]

export function published(name: string): PublishedModel {
  const found = PUBLISHED.find((model) => model.name === name)
  if (!found) throw new Error(`${name}: no such published model`)
  return found
}

export function shortName({ name }: PublishedModel): string {
  return name.split('/').at(-1)!
}

/** DeepSeek-V3's training as its report gives it, at a price of a GPU hour. */
export function deepseekCost(price: number): { run: TrainingRun; cost: TrainingCost } {
  const model = published(DEEPSEEK_V3.model)
  const { pretraining, contextExtension, postTraining } = DEEPSEEK_V3.hours
  const { sequence } = DEEPSEEK_V3
  const run: TrainingRun = {
    active: model.published.active!,
    total: model.published.total!,
    tokens: DEEPSEEK_V3.tokens,
    pretrainingHours: pretraining,
    hours: pretraining + contextExtension + postTraining,
    price,
    peak: H800_PEAK,
    attentionPerToken: trainingFlops(publishedShape(model), sequence, 'causal').attentionScores / sequence,
  }
  return { run, cost: trainingCost(run) }
}
