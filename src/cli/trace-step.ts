import { UsageError } from '../errors.ts'
import type { RoutingTrace } from '../model/trace.ts'
import { exitCodeOf } from '../signals.ts'
import type { Decisions } from '../trace/decision.ts'
import { actionOf, moved, START, type StepState, screen, scrolledWithin } from '../trace/step.ts'
import { colourDepth } from './colour-depth.ts'
import { runScreen } from './screen.ts'

/** @throws UsageError where keys cannot be read or a screen cannot be drawn */
export function checkTerminal({ json }: { json?: boolean }): void {
  if (json) throw new UsageError('--step shows a screen, --json prints a value: give one of them')
  if (!process.stdin.isTTY || !process.stdout.isTTY || process.env.TERM === 'dumb') {
    throw new UsageError(
      '--step needs a terminal for keys and screen; --layer and --token print one decision without',
    )
  }
}

interface Run {
  trace: RoutingTrace
  texts: readonly string[] | null
  decisions: Decisions
}

/** Walks through a run with the keyboard until its user leaves. Steps that this router does not have are passed over. */
export async function walk(
  { trace, texts, decisions }: Run,
  start: { layer: number; token: number },
): Promise<void> {
  const decisionAt = (layer: number, token: number) => {
    const decision = decisions.at(layer, token)
    return { ...decision, steps: decision.steps.filter(({ applies }) => applies) }
  }
  const bounds = {
    layers: trace.layers.length,
    tokens: trace.rows.length,
    steps: (layer: number, token: number) => decisionAt(layer, token).steps.length,
  }
  let state: StepState = { ...START, ...start }
  const depth = colourDepth(process.stdout)
  process.exitCode = await runScreen(
    {
      draw(width, height) {
        const decision = decisionAt(state.layer, state.token)
        const view = { decision, bounds, texts, width, height, depth }
        state = scrolledWithin(state, view)
        return screen(state, view)
      },
      key(key) {
        const action = actionOf(key)
        if (action === 'quit') return 0
        if (action === 'interrupt') return exitCodeOf('SIGINT')
        if (action) state = moved(state, action, bounds)
        return null
      },
    },
    process.stdin,
    process.stdout,
  )
}
