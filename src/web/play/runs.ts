import { mixturesOf } from '../../model/config.ts'
import { useAnswer } from '../app/answer.ts'
import type { ModelFacts, Run } from '../engine/protocol.ts'
import { type Changes, interventionsOf } from './changes.ts'

export interface Runs {
  /** The model as it is. */
  before: Run
  /** With the changes; the same as `before` without. */
  after: Run
  isChanged: boolean
  busy: boolean
  error: string | null
}

/** A text through the model as it is and as it is changed. Null tokens: the model is not there yet. */
export function useRuns(facts: ModelFacts, tokens: number[] | null, changes: Changes, first: Run): Runs {
  const { id } = facts
  const hasRouter = mixturesOf(facts.config.layers).length > 0
  const text = `${id} ${tokens}`
  const base = useAnswer('run', tokens && [id, tokens, { timed: true }], text, first)
  const replays = changes.route === 'replay' && changes.replay !== '' && hasRouter
  const recorded = useAnswer(
    'recorded',
    tokens && replays ? [id, changes.replay, tokens.length] : null,
    `${id} ${changes.replay} ${tokens?.length}`,
  )
  const interventions = hasRouter ? interventionsOf(changes, replays ? recorded.value : null) : undefined
  const altered = useAnswer(
    'run',
    tokens && interventions ? [id, tokens, { timed: true, interventions }] : null,
    `${text} ${JSON.stringify(changes)} ${replays ? recorded.value?.rows.map(({ token }) => token) : ''}`,
  )
  const before = base.value!
  const isSame = (run: Run | null) =>
    run?.model === before.model && run.tokens.join() === before.tokens.join()
  const isChanged = interventions !== undefined && !altered.error && isSame(altered.value)
  return {
    before,
    after: isChanged ? altered.value! : before,
    isChanged,
    busy: base.busy || (interventions !== undefined && altered.busy) || (replays && recorded.busy),
    error: base.error ?? (interventions ? altered.error : null) ?? (replays ? recorded.error : null),
  }
}
