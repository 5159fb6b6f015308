import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { DOMAINS, generateSample } from '../../src/corpus/index.ts'
import { loadModel } from '../../src/load-model.ts'
import { argmax } from '../../src/model/most-likely.ts'
import type { EngineClient } from '../../src/web/engine/client.ts'
import { open, type Site } from './site.ts'

const PROMPTS = 20
const PROMPT_TOKENS = 20
const DIFFERENCE = 1e-3

declare const tinymoe: EngineClient

/** Beginnings of documents of every domain that no training saw. */
function prompts(): string[] {
  return Array.from(
    { length: PROMPTS },
    (_, i) => generateSample(DOMAINS[i % DOMAINS.length], 'heldout', 100 + i, 1).text,
  )
}

function logitsInPage(page: Page, text: string, most: number) {
  return page.evaluate(
    async ([prompt, length]) => {
      const { tokens } = await tinymoe.ask('encode', ['moe', prompt])
      const { logits, trace } = await tinymoe.ask('logits', ['moe', tokens.slice(0, length)])
      const { next } = await tinymoe.ask('run', ['moe', tokens.slice(0, length), {}])
      const experts = trace!.layers.map(({ expertIndices }) => [...expertIndices])
      return { tokens: tokens.slice(0, length), logits: [...logits], experts, next: next[0].token }
    },
    [text, most] as const,
  )
}

/** The engine in the page against the engine here. */
export function engineTests(site: () => Site): void {
  test('logits, experts and greedy tokens of 20 prompts are those of Node', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url)
    const model = await loadModel('tinymoe:moe')
    try {
      const V = model.config.vocabSize
      for (const text of prompts()) {
        const own = await logitsInPage(page, text, PROMPT_TOKENS)
        expect(own.tokens).toEqual((await model.tokenizer!.encode(text)).slice(0, PROMPT_TOKENS))
        const { logits, trace } = model.forward(own.tokens, { trace: true })
        const values = (await logits.data()) as Float32Array
        logits.dispose()
        expect(Math.max(...values.map((value, i) => Math.abs(value - own.logits[i])))).toBeLessThan(
          DIFFERENCE,
        )
        expect(own.experts).toEqual(trace.layers.map(({ expertIndices }) => [...expertIndices]))
        const likeliest = own.tokens.map((_, t) => argmax(values.subarray(t * V, (t + 1) * V)))
        expect(
          own.tokens.map((_, t) => argmax(Float32Array.from(own.logits.slice(t * V, (t + 1) * V)))),
        ).toEqual(likeliest)
        expect(own.next).toBe(likeliest.at(-1))
      }
    } finally {
      model.dispose()
      await page.context().close()
    }
  })

  test('a run leaves no tensor behind', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url)
    const [before, after] = await page.evaluate(async () => {
      const tokens = [1, 49, 80, 313]
      const count = () => tinymoe.ask('tensors', [])
      const first = await count()
      const { trace } = await tinymoe.ask('run', ['moe', tokens, { timed: true, interventions: { topK: 1 } }])
      await tinymoe.ask('decision', ['moe', trace!, 0, 1])
      await tinymoe.ask('vectors', ['moe', tokens, 1, 2])
      await tinymoe.ask('recorded', ['moe', 'Es war', 6])
      await tinymoe.ask('race', ['moe', tokens, 1])
      return [first, await count()]
    })
    expect(after).toBe(before)
    await page.context().close()
  })
}
