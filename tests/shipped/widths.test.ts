import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { quantizeModel } from '../../src/checkpoint/quantize.ts'
import { QUANTIZE_DEFAULTS } from '../../src/checkpoint/widths.ts'
import { DOMAINS } from '../../src/corpus/index.ts'
import { documentsOf, TextCodec } from '../../src/eval/documents.ts'
import { documentLosses, lossReport } from '../../src/eval/loss.ts'
import { loadModel } from '../../src/load-model.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { modelDir, readsFacts, trainedModels } from './pins.ts'

/** Held-out documents of each domain: docs/quantize.md has the losses of more. */
const DOCUMENTS = 4

const OPTIONS = { ...QUANTIZE_DEFAULTS, bits: 4 } as const

const folder = mkdtempSync(join(tmpdir(), 'tinymoe-widths-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Mean loss in nats a token, over domains. */
async function lossOf(dir: string): Promise<number> {
  const model = await loadModel(dir, { device: 'cpu' })
  try {
    const codec = new TextCodec(dir, model.config, model.tokenizer)
    const documents = await documentsOf(codec, DOMAINS, { split: 'heldout', seed: 1 }, DOCUMENTS)
    const eager = new MoeModel(model.config, model.weights, model.dispatch)
    return lossReport(documents, await documentLosses(eager, documents)).mean
  } finally {
    model.dispose()
  }
}

describe.each(trainedModels())('models/%s', (name) => {
  let before: number
  beforeAll(async () => {
    before = await lossOf(modelDir(name))
  })

  // Of width 32 and full of facts (docs/quantize.md has what is lost, a third to three quarters of it by attention).
  const isSmall = readsFacts(name)
  const withAttention = [...QUANTIZE_DEFAULTS.keep, 'attention'] as const
  test.each([
    { bits: 8, keep: QUANTIZE_DEFAULTS.keep, most: isSmall ? 0.003 : 0.001 },
    { bits: 4, keep: QUANTIZE_DEFAULTS.keep, most: isSmall ? 0.12 : 0.02 },
    { bits: 4, keep: withAttention, most: isSmall ? 0.05 : 0.02 },
  ] as const)(
    'loses at most $most nats a token in $bits bits, all but $keep',
    async ({ bits, keep, most }) => {
      const out = join(folder, `${name}-${bits}-${keep.length}`)
      await quantizeModel(modelDir(name), out, { ...OPTIONS, bits, keep: [...keep] })
      expect((await lossOf(out)) - before).toBeLessThan(most)
    },
  )
})
