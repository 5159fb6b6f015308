import { shapeFromJson } from '../families/index.ts'
import type { ModelShape } from '../model/config.ts'
import { SIZES } from '../text/units.ts'
import type { CostDtype } from './bytes.ts'
import { countParameters } from './parameters.ts'

export type Quantity = 'total' | 'active'

/** A model whose owner published its config and its size; src/cost/published.json holds them with their sources. */
export interface PublishedModel {
  name: string
  /** As in its config.json, what does not matter for counting left out. */
  config: Record<string, unknown>
  configSource: string
  published: Record<Quantity, number | null> & {
    /** The figures as their owner prints them, such as `46.7B`. */
    printed: Record<Quantity, string | null>
    source: string
  }
  /** Type of the published weights. */
  dtype: CostDtype
  /** Why a figure differs from the counted one by more than 1 % and more than rounding. */
  differences?: Partial<Record<Quantity, string>>
  /** Forward and backward of so many tokens in one sequence. */
  trainingFlops?: { perTokens: number; flops: number; source: string }
  notes?: string
}

export function publishedShape({ name, config }: PublishedModel): ModelShape {
  return shapeFromJson(config, name).shape
}

/** Ways to count active parameters that owners use; for tied tables the first two are the same. */
export const CONVENTIONS = ['everything', 'without input table', 'without embeddings'] as const
export type Convention = (typeof CONVENTIONS)[number]

/** Parameters each way. A tied table is the unembedding too, so it stays until both are left out. */
export function countsByConvention(model: ModelShape): Record<Convention, Record<Quantity, number>> {
  const { total, active, totalWithoutEmbeddings, activeWithoutEmbeddings, parts } = countParameters(model)
  const inputTable = model.tieWordEmbeddings ? 0 : parts.embedding
  return {
    everything: { total, active },
    'without input table': { total: total - inputTable, active: active - inputTable },
    'without embeddings': { total: totalWithoutEmbeddings, active: activeWithoutEmbeddings },
  }
}

/** A published figure beside the counted one. */
export type Comparison = ReturnType<typeof compareWithPublished>[number]

const TOLERANCE = 0.01

/** Both figures beside the counted ones; one that its owner did not publish is left out. */
export function compareWithPublished(model: PublishedModel) {
  const counts = countsByConvention(publishedShape(model))
  const { published: figures } = model
  return (['total', 'active'] as const).flatMap((quantity) => {
    const [published, printed] = [figures[quantity], figures.printed[quantity]]
    if (published === null || printed === null) return []
    const away = (way: Convention) => Math.abs(counts[way][quantity] / published - 1)
    const ways = quantity === 'total' ? CONVENTIONS.slice(0, 1) : CONVENTIONS
    const convention = ways.reduce((best, way) => (away(way) < away(best) ? way : best))
    const counted = counts[convention][quantity]
    return [
      {
        quantity,
        published,
        printed,
        counted,
        /** The way of counting that comes nearest; totals always count everything. */
        convention,
        /** counted / published - 1 */
        difference: counted / published - 1,
        ...agreementOf(counted, published, printed, model.differences?.[quantity]),
      },
    ]
  })
}

/** `rounding`: the counted one rounds to a printed figure of two digits or more; `explained`: by the data file. */
interface Agreement {
  agreement: 'within 1 %' | 'rounding' | 'explained' | 'unexplained'
  /** Null within 1 %. */
  why: string | null
}

function agreementOf(
  counted: number,
  published: number,
  printed: string,
  why: string | undefined,
): Agreement {
  if (Math.abs(counted / published - 1) <= TOLERANCE) return { agreement: 'within 1 %', why: null }
  if (why !== undefined) return { agreement: 'explained', why }
  const digits = printed.replace(/\D/g, '').length
  if (digits > 1 && printedLike(counted, printed) === printed) {
    return { agreement: 'rounding', why: `${(counted / 1e9).toFixed(3)}B rounds to the printed ${printed}.` }
  }
  return { agreement: 'unexplained', why: null }
}

/** A number in the unit and with the decimals of a printed one: 12.88e9 like `12.9B` is `12.9B`. */
export function printedLike(value: number, printed: string): string {
  const [, , decimals = '', unit] = /^(\d+)(?:\.(\d+))?([MBT])$/.exec(printed) ?? []
  if (!unit) throw new Error(`printedLike: "${printed}" is no figure such as 46.7B`)
  return `${(value / SIZES[unit as 'B']).toFixed(decimals.length)}${unit}`
}
