import { useEngine } from '../app/engine.tsx'
import { usePlay } from './state.tsx'

/** Beside the question for a fact: which expert it hangs on. */
export function Forget() {
  const { opening } = useEngine()
  const { prompt, facts, changes, setChanges } = usePlay()
  const { fact } = opening
  if (!fact || prompt !== fact.prompt || facts.id !== fact.model) return null
  const [{ layer, expert }] = fact.experts
  const isOff = changes.off.some((off) => off.layer === layer && off.expert === expert)
  const others = fact.of - 1
  return (
    <p class="card">
      The model has read this fact, but never in these words: “{fact.value}” comes next. It hangs on expert{' '}
      {expert} of layer {layer}: with that one switched off the model says something else
      {fact.experts.length === 1 && `, and with any one of the other ${others} it still says it`}.{' '}
      <button
        type="button"
        disabled={isOff}
        onClick={() => setChanges({ off: [...changes.off, { layer, expert }] })}
      >
        {isOff ? 'Forgotten' : 'Forget it'}
      </button>
    </p>
  )
}
