import { si } from '../../text/units.ts'
import type { RunCost } from '../cost/of-run.ts'
import { shareText } from '../parts/expert.tsx'
import { COUNTED, Fact } from '../parts/fact.tsx'

interface SavedProps {
  what: string
  used: { active: number; everyExpert: number }
  unit: string
}

/** The share that is saved when not every expert runs. */
function Saved({ what, used: { active, everyExpert }, unit }: SavedProps) {
  return (
    <Fact
      value={shareText(1 - active / everyExpert)}
      title={`Saved of the ${what}`}
      formula="1 - used for a token / used if every expert ran"
      inputs={[
        ['used for a token', si(active, unit)],
        ['if every expert ran', si(everyExpert, unit)],
      ]}
      source={COUNTED}
    />
  )
}

export function SavedArithmetic({ cost }: { cost: RunCost }) {
  return <Saved what="arithmetic" used={cost.flops} unit="FLOP" />
}

export function SavedReading({ cost }: { cost: RunCost }) {
  return <Saved what="reading of weights" used={cost.bytes} unit="B" />
}
