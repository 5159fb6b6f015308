import { bytesByWidth, WIDTHS, type Width } from '../../src/cost/widths.ts'
import type { ModelConfig } from '../../src/model/config.ts'
import { NOMINAL_SECONDS } from '../presets.ts'
import type { Row } from '../schema.ts'
import type { Case, Described, PlannedCase } from './case.ts'
import { type HeldModel, holdIn, type Place } from './held-model.ts'
import { type HeldOut, heldOutTexts, lossOf } from './held-out.ts'
import { type ModelBench, type ModelCaseOptions, modelCase, plannedModel, variantsOf } from './model.ts'
import { TimeLimit } from './time-limit.ts'

export interface WidthBench extends ModelBench, Place {
  /** What to hold the model in; where there is none, there is no case. */
  widths: readonly Width[]
  signal: AbortSignal
}

/** The model in a width, and what it loses by that. */
interface Found {
  held: HeldModel
  loss: number | null
}

type Missing = NonNullable<Case['missing']>

/** A token decoded by one model that is held in each width, in turn, by dense and by sparse. */
export function plannedWidths(bench: WidthBench): PlannedCase[] {
  const { widths, baseContext: context } = bench
  if (widths.length === 0) return []
  const options: ModelCaseOptions = {
    ...{ ...bench, batch: 1, context, twins: false, dtype: 'float32' },
    executors: bench.executors.slice(0, 1),
  }
  const decode = plannedModel({ kind: 'decode', batch: 1, context }, { ...bench, ...options })
  const facts = { ...decode.facts, kind: 'width', group: `width/B1/S${context}` } as const
  const described = decode.describe().filter(isCompared)
  const describe = (width: Width) => described.map((one) => inWidth(width, one, bench.model.config))
  return [
    {
      facts,
      what: `model, decode, held in ${widths.join(', ')}`,
      seconds: NOMINAL_SECONDS.width,
      telling: false,
      describe: () => widths.flatMap(describe),
      make: async (measure, mostMs) => {
        const limit = new TimeLimit(mostMs)
        const texts = await heldOutTexts(bench.loaded)
        const { found, missing } = await holdAll(bench, describe, texts, limit)
        try {
          if (found.length === 0) return [...new Set(missing.map(({ why }) => why))].join('; ')
          const { spentMs: preparedMs } = limit
          await measure({ ...widthCase(found, bench, options, texts), ...facts, missing, preparedMs })
          return null
        } finally {
          for (const { held } of found) held.dispose()
        }
      },
    },
  ]
}

function isCompared({ dispatch }: Described): boolean {
  return dispatch === 'dense' || dispatch === 'sparse'
}

/** The model in every width that it can be held in, and the others' reasons. */
async function holdAll(
  bench: WidthBench,
  describe: (width: Width) => Described[],
  texts: HeldOut | null,
  limit: TimeLimit,
): Promise<{ found: Found[]; missing: Missing }> {
  const { widths, signal } = bench
  const found: Found[] = []
  const missing: Missing = []
  for (const width of widths) {
    const held = signal.aborted ? 'interrupted' : await holdIn(width, bench, limit, signal)
    if (typeof held === 'string') missing.push(...describe(width).map((variant) => ({ variant, why: held })))
    else found.push({ held, loss: texts && (await lossOf(held.eager, texts, limit, signal)) })
  }
  return { found, missing }
}

/** The decode case of every model found, as one. Weights in another width may choose other experts, never more of them. */
function widthCase(
  found: readonly Found[],
  { text, model: { config } }: WidthBench,
  options: ModelCaseOptions,
  texts: HeldOut | null,
): Case {
  const work = modelCase(found[0].held, text, 'decode', options)
  const described = work.variants.filter(isCompared)
  const variants = found.flatMap(({ held, loss }) => {
    const measured = { loss, lossTokens: loss === null ? null : (texts?.tokens ?? null) }
    const own = described.map((one) => inWidth(held.width, one, config, measured))
    return variantsOf(held, text, 'decode', options, own)
  })
  return { ...work, variants }
}

/** What is known of a variant when its weights are held in a width. */
function inWidth(
  width: Width,
  variant: Described,
  config: ModelConfig,
  measured: Pick<Row, 'loss' | 'lossTokens'> = { loss: null, lossTokens: null },
): Described {
  const bytes = bytesByWidth(config).find((one) => one.width === width)
  const weightBytes = (variant.dispatch === 'dense' ? bytes?.readByAll : bytes?.read) ?? null
  return {
    ...variant,
    weightBytes,
    held: { width, held: WIDTHS[width].name, heldBytes: bytes?.stored ?? null, ...measured },
  }
}
