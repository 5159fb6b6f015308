import { useEffect, useState } from 'preact/hooks'
import { Slider } from '../parts/controls.tsx'
import { HeatMap, type HeatPlace } from '../parts/heat-map.tsx'
import { type SavedTrace, usePlay } from './state.tsx'
import { TokenPanel } from './token-panel.tsx'

const TOKENS_A_SECOND = 4

/** A trace that the command line saved, token by token. */
export function SavedTraceView({ saved }: { saved: SavedTrace }) {
  const { setSaved, facts, ready } = usePlay()
  const { trace, texts, name } = saved
  const [place, setPlace] = useState<HeatPlace>({ row: 0, layerIndex: 0 })
  const [playing, setPlaying] = useState(false)
  const last = trace.rows.length - 1
  useEffect(() => {
    if (!playing) return
    if (place.row >= last) return setPlaying(false)
    const timer = setTimeout(() => setPlace({ ...place, row: place.row + 1 }), 1000 / TOKENS_A_SECOND)
    return () => clearTimeout(timer)
  }, [playing, place.row])
  return (
    <section aria-label="Saved trace">
      <div class="buttons">
        <p>
          The trace <b>{name}</b>: {trace.rows.length} tokens, {trace.layers.length} layers.
        </p>
        <button type="button" class="primary" onClick={() => setPlaying(!playing)}>
          {playing ? 'Pause' : 'Replay'}
        </button>
        <button type="button" onClick={() => setSaved(null)}>
          Close the trace
        </button>
        <Slider
          label="Token"
          value={place.row}
          min={0}
          max={last}
          onChange={(row) => setPlace({ ...place, row })}
        />
      </div>
      <div class="play-grid">
        <div class="card">
          <HeatMap trace={trace} texts={texts} selected={place} onSelect={setPlace} />
        </div>
        {ready && <TokenPanel model={facts.id} trace={trace} texts={texts} place={place} />}
      </div>
    </section>
  )
}
