import { DTYPES, type Dtype } from '../../src/backend/dtypes.ts'
import { LIMITS } from '../../src/backend/limits.ts'
import { loadModel } from '../../src/load-model.ts'
import type { DispatchName } from '../../src/model/ways.ts'
import { type CardStep, cardStep } from './card-steps.ts'

/** A step of a bundled model that the audit looks at. */
export interface AuditCase {
  model: 'moe' | 'deepseek'
  dtype: Dtype
  dispatch: DispatchName | 'auto'
  tokens: number
}

export const AUDIT_MODELS = ['moe', 'deepseek'] as const
/** Layers with a router. */
const MIXTURES = { moe: 4, deepseek: 3 }

/** Launching ops of a decoded token of `moe`, at most. */
export const MOST_LAUNCHES = 120

/** A token, few rows in one block of attention, and many in several. */
const [ONE, FEW, MANY] = LIMITS.cardSteps.tokens

/** Every type by every dispatch, for a decoded token and for a prompt; a long one by float32 alone. */
export function auditCases(): AuditCase[] {
  const dispatches = ['auto', 'sparse', 'gather', 'dense'] as const
  return AUDIT_MODELS.flatMap((model) => [
    ...DTYPES.flatMap((dtype) =>
      dispatches.flatMap((dispatch) =>
        (dispatch === 'gather' ? [ONE] : [ONE, FEW]).map((tokens) => ({ model, dtype, dispatch, tokens })),
      ),
    ),
    { model, dtype: 'float32', dispatch: 'auto', tokens: MANY },
  ])
}

export function labelOf({ model, dtype, dispatch, tokens }: AuditCase): string {
  return `${model} ${dtype} ${dispatch}, ${tokens === 1 ? 'a decoded token' : `a prompt of ${tokens}`}`
}

/** How often the host waits within a step: for the sizes of groups, once a mixture layer, where rows are grouped. */
export function expectedWaits({ model, dispatch, tokens }: AuditCase): number {
  return dispatch === 'dense' || tokens === ONE ? 0 : MIXTURES[model]
}

/** Calls `f` with each case and its step; models are loaded once a type, which their matrices are held in. */
export async function forEachStep(
  cases: AuditCase[],
  f: (item: AuditCase, step: CardStep) => void | Promise<void>,
): Promise<void> {
  for (const [name, dtype] of AUDIT_MODELS.flatMap((name) => DTYPES.map((dtype) => [name, dtype] as const))) {
    const own = cases.filter((item) => item.model === name && item.dtype === dtype)
    if (own.length === 0) continue
    const model = await loadModel(`models/${name}`, { device: 'cpu', executor: 'eager', dtype })
    for (const item of own) {
      const { tokens, dispatch } = item
      const capacity = LIMITS.cardSteps.columns.first
      await f(item, cardStep(model, { batch: 1, tokens, capacity, dispatch, logits: 'last' }, dtype))
    }
    model.dispose()
  }
}
