import { InspectPart } from './inspect.tsx'
import { ReboundPart } from './rebound.tsx'
import { TrainingPart } from './training.tsx'

export function Calculator() {
  return (
    <main class="calculator">
      <h1>Calculator</h1>
      <p class="lead">
        The same arithmetic as <code>tinymoe inspect</code> and <code>tinymoe cost</code>: from published
        shapes and reports, with every formula to open.
      </p>
      <InspectPart />
      <TrainingPart />
      <ReboundPart />
    </main>
  )
}
