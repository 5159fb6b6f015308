import { shareText } from './expert.tsx'
import { COUNTED, Fact } from './fact.tsx'

export interface ShareBarProps {
  name: string
  part: number
  whole: number
  text(value: number): string
  formula: string
}

/** A part of a whole, with both numbers. */
export function ShareBar({ name, part, whole, text, formula }: ShareBarProps) {
  const share = part / whole
  return (
    <div class="share">
      <p>
        <span>{name}</span>
        <span>
          <Fact
            value={`${text(part)} of ${text(whole)}`}
            title={name}
            formula={formula}
            inputs={[
              ['used', text(part)],
              ['in all', text(whole)],
              ['used, of all', shareText(share)],
            ]}
            source={COUNTED}
          />
        </span>
      </p>
      <div class="share-track" role="img" aria-label={`${name}: ${shareText(share)}`}>
        <span style={{ width: `${Math.min(100, 100 * share)}%` }} />
      </div>
    </div>
  )
}
