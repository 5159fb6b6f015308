import { DOMAINS } from '../../src/corpus/index.ts'
import { InputError } from '../../src/errors.ts'
import { type Document, documentsOf, TextCodec } from '../../src/eval/documents.ts'
import { documentLosses, lossReport } from '../../src/eval/loss.ts'
import { QUANTIZED_SAMPLES } from '../../src/eval/quantized.ts'
import type { LoadedModel } from '../../src/load-model.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { sum } from '../../src/sums.ts'
import { type TimeLimit, TookTooLong } from './time-limit.ts'

/** Texts that no bundled model was trained on, those that `quantize` compares models on. */
export interface HeldOut {
  documents: Document[]
  /** Predicted ones. */
  tokens: number
}

/** Null for a model whose tokenizer cannot read them, or without one. */
export async function heldOutTexts({ dir, config, tokenizer }: LoadedModel): Promise<HeldOut | null> {
  if (!tokenizer) return null
  try {
    const codec = new TextCodec(dir, config, tokenizer)
    const documents = await documentsOf(codec, DOMAINS, { split: 'heldout', seed: 1 }, QUANTIZED_SAMPLES)
    return { documents, tokens: sum(documents.map(({ tokens }) => tokens.length - 1)) }
  } catch (error) {
    if (error instanceof InputError) return null
    throw error
  }
}

/** Mean over domains, nats a token; null where the texts take too long, the model's loss is no number, or a signal came. */
export async function lossOf(
  model: MoeModel,
  { documents }: HeldOut,
  limit: TimeLimit,
  signal: AbortSignal,
): Promise<number | null> {
  try {
    const losses = await documentLosses(model, documents, { signal, onShare: limit.watch() })
    return lossReport(documents, losses).mean
  } catch (error) {
    if (signal.aborted || error instanceof TookTooLong || error instanceof InputError) return null
    throw error
  }
}
