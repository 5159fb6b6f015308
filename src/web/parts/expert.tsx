import { expertColour } from '../../trace/colours.ts'

/** An expert's number beside its colour: the number alone already says which. */
export function ExpertChip({ expert, lit = true }: { expert: number; lit?: boolean }) {
  return (
    <span class={lit ? 'expert' : 'expert asleep'} style={{ '--colour': expertColour(expert) }}>
      {expert}
    </span>
  )
}

export interface ExpertBarsProps {
  /** What the bars say. */
  label: string
  /** [E] */
  values: ArrayLike<number>
  /** Of values, as they are written. */
  text?: (value: number) => string
  /** Experts that are lit; all where left out. */
  chosen?: readonly number[]
  /** Written behind a bar. */
  remark?: (expert: number) => string
}

/** One bar an expert, longest for the largest value. */
export function ExpertBars({ label, values, text = shareText, chosen, remark }: ExpertBarsProps) {
  const all = Array.from(values)
  const most = Math.max(...all.filter(Number.isFinite), 1e-9)
  return (
    <ul class="bars" aria-label={label}>
      {all.map((value, e) => {
        const lit = chosen?.includes(e) ?? true
        const width = Number.isFinite(value) ? `${Math.max(0, (100 * value) / most)}%` : '0'
        return (
          <li key={e} class={lit ? '' : 'asleep'}>
            <ExpertChip expert={e} lit={lit} />
            <span class="track">
              <span class="bar" style={{ width, background: lit ? expertColour(e) : undefined }} />
            </span>
            <span class="value">{Number.isFinite(value) ? text(value) : 'off'}</span>
            <span class="remark">{remark?.(e)}</span>
          </li>
        )
      })}
    </ul>
  )
}

export function shareText(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}
