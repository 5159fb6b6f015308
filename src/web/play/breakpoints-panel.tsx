import { Select } from '../parts/controls.tsx'
import type { Breakpoints } from './breakpoints.ts'
import { usePlay } from './state.tsx'

const numbers = (values: number[]) => values.map((value) => ({ value, text: String(value) }))

/** What a breakpoint begins with when it is switched on. */
const START = { margin: 0.01, overflow: 1.25 }

export function BreakpointsPanel({
  breaks,
  onChange,
}: {
  breaks: Breakpoints
  onChange(breaks: Breakpoints): void
}) {
  const { after } = usePlay()
  const layers = after.trace?.layers ?? []
  if (layers.length === 0) return null
  const send = breaks.send ?? { layer: layers[0].layer, expert: 0 }
  const experts = layers.find(({ layer }) => layer === send.layer)?.numExperts ?? 0
  const set = (part: Partial<Breakpoints>) => onChange({ ...breaks, ...part })
  return (
    <details class="breaks">
      <summary>Stop when …</summary>
      <div class="form">
        <label>
          <input
            type="checkbox"
            checked={breaks.send !== null}
            onChange={({ currentTarget }) => set({ send: currentTarget.checked ? send : null })}
          />{' '}
          layer
        </label>
        <Select
          inline
          label="Layer of the breakpoint"
          options={numbers(layers.map(({ layer }) => layer))}
          value={send.layer}
          onChange={(layer) => set({ send: { ...send, layer } })}
        />
        <span>sends a token to expert</span>
        <Select
          inline
          label="Expert of the breakpoint"
          options={numbers(Array.from({ length: experts }, (_, e) => e))}
          value={send.expert}
          onChange={(expert) => set({ send: { ...send, expert } })}
        />
      </div>
      <Threshold
        name="a router's margin is below"
        value={breaks.margin}
        start={START.margin}
        step={0.001}
        onChange={(margin) => set({ margin })}
      />
      <Threshold
        name="an expert overflows at capacity factor"
        value={breaks.overflow}
        start={START.overflow}
        step={0.25}
        onChange={(overflow) => set({ overflow })}
      />
    </details>
  )
}

interface ThresholdProps {
  name: string
  value: number | null
  start: number
  step: number
  onChange(value: number | null): void
}

function Threshold({ name, value, start, step, onChange }: ThresholdProps) {
  return (
    <div class="form">
      <label>
        <input
          type="checkbox"
          checked={value !== null}
          onChange={({ currentTarget }) => onChange(currentTarget.checked ? start : null)}
        />{' '}
        {name}
      </label>
      <input
        type="number"
        aria-label={name}
        value={value ?? start}
        min={step}
        step={step}
        onInput={({ currentTarget }) =>
          currentTarget.valueAsNumber > 0 && onChange(currentTarget.valueAsNumber)
        }
      />
    </div>
  )
}
