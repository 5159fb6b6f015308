import type { LoadedModel } from '../../src/load-model.ts'
import { quantile } from '../../src/samples.ts'
import type { TracingCost } from '../schema.ts'
import { type SamplingLimits, sampleInterleaved } from '../timing.ts'
import { PromptCaches } from './measured-model.ts'
import type { BenchText } from './model-text.ts'

/** The ways to ask for a trace, or not to. */
const ASKED = [undefined, false, true] as const

/** Decode with the trace not asked for, off and on, in turn: off has to cost nothing. Null when interrupted before a sample. */
export async function measureTracing(
  model: LoadedModel,
  text: BenchText,
  { context, steps }: { context: number; steps: number },
  limits: SamplingLimits,
  signal: AbortSignal,
): Promise<TracingCost | null> {
  const [ids] = text.sequences(1, context + steps)
  const caches = new PromptCaches(model, [ids.slice(0, context)])
  const variants = ASKED.map((trace) => ({
    prepare: () => void caches.fresh(),
    run: () => {
      for (const token of ids.slice(context)) {
        const { logits } = model.forward([token], { cache: caches.current, trace, logits: 'last' })
        logits.dataSync()
        logits.dispose()
      }
    },
  }))
  try {
    const { samples } = await sampleInterleaved(variants, limits, signal)
    if (samples.some((list) => list.length === 0)) return null
    const [absentMs, offMs, onMs] = samples.map((list) => quantile(list, 0.5) / steps)
    return { absentMs, offMs, onMs, n: samples[2].length }
  } finally {
    caches.dispose()
  }
}
