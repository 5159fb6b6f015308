import { useLayoutEffect, useState } from 'preact/hooks'
import { Slider } from '../parts/controls.tsx'
import { type Breakpoints, breakAt, NO_BREAKS } from './breakpoints.ts'
import { BreakpointsPanel } from './breakpoints-panel.tsx'
import { MAX_TOKENS, usePlay } from './state.tsx'

/** Writes token after token: when asked, or by itself until something stops it. */
function useWriting() {
  const { tokens, written, setWritten, after, busy, ready, facts, setPlace } = usePlay()
  const [playing, setPlaying] = useState(false)
  const [speed, setSpeed] = useState(4)
  const [breaks, setBreaks] = useState<Breakpoints>(NO_BREAKS)
  const [stopped, setStopped] = useState<string | null>(null)
  const isCurrent = !busy && after.tokens.length === tokens.length
  const next = after.next[0]?.token
  const end = facts.config.eosTokenIds.includes(tokens.at(-1) ?? -1)
    ? 'The model ended the text here.'
    : tokens.length >= MAX_TOKENS
      ? `The playground writes up to ${MAX_TOKENS} tokens.`
      : null
  const write = () => {
    setStopped(null)
    setPlace(null)
    setWritten([...written, next])
  }
  const stop = (why: string | null) => {
    setPlaying(false)
    setStopped(why)
  }

  // Before the frame: once Pause is pressed the next token's timer must not fire any more.
  useLayoutEffect(() => {
    if (!playing || !isCurrent) return
    const why = end ?? (written.length > 0 && after.trace ? breakAt(breaks, after.trace) : null)
    if (why) return stop(why)
    const timer = setTimeout(write, 1000 / speed)
    return () => clearTimeout(timer)
  }, [playing, isCurrent, tokens, speed])

  const play = () => {
    setStopped(null)
    // From a breakpoint on, the token that it stopped at is passed.
    if (!playing && stopped && isCurrent && !end) write()
    setPlaying(!playing)
  }
  const canStep = ready && isCurrent && !playing && end === null
  return { playing, play, write, canStep, speed, setSpeed, breaks, setBreaks, said: stopped ?? end ?? '' }
}

/** Play, pause, step, back: the likeliest token of the changed model is written. */
export function Transport() {
  const { written, setWritten, ready } = usePlay()
  const { playing, play, write, canStep, speed, setSpeed, breaks, setBreaks, said } = useWriting()
  return (
    <section class="transport" aria-label="Writing">
      <div class="buttons">
        <button type="button" class="primary" onClick={play} disabled={!ready}>
          {playing ? 'Pause' : 'Play'}
        </button>
        <button type="button" onClick={write} disabled={!canStep}>
          Step
        </button>
        <button
          type="button"
          onClick={() => setWritten(written.slice(0, -1))}
          disabled={written.length === 0}
        >
          Back
        </button>
        <button type="button" onClick={() => setWritten([])} disabled={written.length === 0}>
          To the prompt
        </button>
        <Slider label="Speed" value={speed} min={1} max={20} text={`${speed} tokens/s`} onChange={setSpeed} />
      </div>
      <p class="stopped" role="status">
        {said}
      </p>
      <BreakpointsPanel breaks={breaks} onChange={setBreaks} />
    </section>
  )
}
