import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import type { Document } from '../../src/eval/documents.ts'
import { documentLosses, type EvalForward, lossReport } from '../../src/eval/loss.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

const V = 40

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** The definition: a document at a time, every position's logits to probabilities in double precision. */
function lossByDefinition(model: MoeModel, tokens: number[]): number {
  const { logits } = model.forward(tokens)
  const values = logits.dataSync()
  logits.dispose()
  let loss = 0
  for (let t = 0; t + 1 < tokens.length; t++) {
    const row = Array.from(values.slice(t * V, (t + 1) * V), Math.exp)
    loss -= Math.log(row[tokens[t + 1]] / row.reduce((a, b) => a + b, 0))
  }
  return loss
}

/** Documents of `lengths` tokens. */
function documentsOf(lengths: number[]): Document[] {
  return lengths.map((length, i) => ({
    domain: i % 2 ? 'code' : 'story',
    tokens: randomTokens(length, V, i + 1),
    characters: 3 * length,
  }))
}

describe('losses of documents', () => {
  test('are those of each document alone, whatever shares its batch', async () => {
    const model = randomModel({ V })
    const documents = documentsOf([2, 9, 3, 30, 9, 5, 2, 31, 17])
    const before = tf.memory().numTensors
    const losses = await documentLosses(model, documents)
    expect(tf.memory().numTensors).toBe(before)
    documents.forEach(({ tokens }, i) => {
      expect(losses[i]).toBeCloseTo(lossByDefinition(model, tokens), 3)
    })
    model.dispose()
  })

  test('are the same in several batches, and the trace says whose tokens it holds', async () => {
    const model = randomModel({ V, layers: 1 })
    const documents = documentsOf(Array.from({ length: 90 }, (_, i) => 40 + (i % 41)))
    const shares: number[] = []
    const routed: number[][] = documents.map(() => [])
    const losses = await documentLosses(model, documents, {
      onShare: (share) => shares.push(share),
      onTrace: (trace, batch) => {
        for (const { sequence, token } of trace.rows) routed[batch[sequence]].push(token)
      },
    })
    expect(shares.length).toBeGreaterThan(1)
    expect(shares.at(-1)).toBe(1)
    expect(routed).toEqual(documents.map(({ tokens }) => tokens.slice(0, -1)))
    for (const i of [0, 40, 41, 89]) {
      expect(losses[i]).toBeCloseTo(lossByDefinition(model, documents[i].tokens), 3)
    }
    model.dispose()
  })

  test('end with the signal and leave no tensor behind', async () => {
    const model = randomModel({ V })
    const before = tf.memory().numTensors
    const controller = new AbortController()
    const work = documentLosses(model, documentsOf(new Array(300).fill(40)), {
      signal: controller.signal,
      onShare: () => controller.abort(),
    })
    await expect(work).rejects.toThrow('aborted')
    expect(tf.memory().numTensors).toBe(before)
    model.dispose()
  })

  test('that are no numbers are an error, not a result', async () => {
    const broken = {
      config: { vocabSize: V },
      forward: (tokens: number[][]) => ({
        logits: tf.fill([tokens.length, tokens[0].length, V], Number.NaN),
        trace: null,
      }),
    } as unknown as EvalForward
    await expect(documentLosses(broken, documentsOf([3, 3]))).rejects.toThrow(
      'loss: of document 0 is NaN, expected a number',
    )
  })
})

test('by domain every token counts the same, over domains every domain', () => {
  const documents: Document[] = [
    { domain: 'dates', tokens: [1, 5, 6, 2], characters: 10 },
    { domain: 'story', tokens: [1, 5, 2], characters: 4 },
    { domain: 'dates', tokens: [1, 7, 2], characters: 6 },
  ]
  const report = lossReport(documents, [6, 3, 2])
  expect(report.byDomain).toEqual({ story: 1.5, dates: 1.6 })
  expect(Object.keys(report.byDomain)).toEqual(['story', 'dates']) // the corpus's order
  expect(report.mean).toBeCloseTo(1.55, 12)
  expect(report.perplexity).toBeCloseTo(Math.exp(1.55), 12)
  expect(report.details.story).toEqual({
    documents: 1,
    tokens: 2,
    characters: 4,
    standardError: null,
    bitsPerCharacter: expect.closeTo(3 / Math.LN2 / 4, 12),
  })
  expect(report.details.dates).toMatchObject({ documents: 2, tokens: 5, characters: 16 })
  expect(report.bitsPerCharacter).toBeCloseTo((3 / 4 + 8 / 16) / 2 / Math.LN2, 12)
})
