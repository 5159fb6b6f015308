import type { Executor } from '../../src/load-model.ts'
import type { BenchReport, Dispatch, LayerDims, Row } from '../schema.ts'

/** What conclusions are about: the layer of the sizes asked for, by the executor that models run by. */
export interface Subject {
  executor: Executor
  dims: LayerDims
}

export function subjectOf({ conditions, layer }: Pick<BenchReport, 'conditions' | 'layer'>): Subject {
  const { D, H, E, K } = layer
  return { executor: conditions.executor, dims: { D, H, E, K } }
}

/** Rows of one dispatch in the sweep over T, fewest tokens first. */
export function tokenSweep(rows: Row[], { executor, dims }: Subject, dispatch: Dispatch): Row[] {
  return rows
    .filter(
      (row) =>
        row.kind === 'layer' &&
        row.routing === 'real' &&
        row.dispatch === dispatch &&
        row.executor === executor &&
        row.dims !== null &&
        sameSizes(row.dims, dims),
    )
    .sort((a, b) => a.tokens - b.tokens)
}

/** The first measured case of a kind, by an executor: one sequence, the base context. */
export function firstCase(rows: Row[], kind: Row['kind'], executor: Executor): Row[] {
  const first = rows.find((row) => row.kind === kind)
  return rows.filter((row) => row.group === first?.group && row.executor === executor)
}

function sameSizes(a: LayerDims, b: LayerDims): boolean {
  return a.D === b.D && a.H === b.H && a.E === b.E && a.K === b.K
}
