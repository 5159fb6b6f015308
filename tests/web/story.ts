import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bytesByWidth } from '../../src/cost/widths.ts'
import { readConfig } from '../../src/load-model.ts'
import { mixturesOf } from '../../src/model/config.ts'
import { sum } from '../../src/sums.ts'
import { si } from '../../src/text/units.ts'
import { open, type Site, settled } from './site.ts'

/** What a reader may do in a step, and what must change by it. */
const STEPS: { step: number; act(page: Page): Promise<unknown>; changes: string }[] = [
  { step: 1, act: (page) => page.getByLabel('Your text').fill('7+8='), changes: '.picture' },
  { step: 2, act: (page) => pressed(page, 'Layer, counted from 0', '2'), changes: '.picture .bars' },
  {
    step: 3,
    act: (page) => page.getByRole('slider', { name: 'Experts a token (k)' }).fill('5'),
    changes: '.picture .bars',
  },
  { step: 4, act: (page) => pressed(page, 'Expert', '6'), changes: '.step .text' },
  { step: 5, act: (page) => page.locator('.token').nth(2).click(), changes: '.step .lead' },
  { step: 6, act: (page) => page.getByLabel(/^Weight of expert/).fill('0.2'), changes: '.picture .flow' },
  { step: 7, act: (page) => pressed(page, 'Kind of text', 'arithmetic'), changes: '.picture .heat tbody' },
  {
    step: 8,
    act: (page) => page.getByRole('slider', { name: 'Experts a token (k)' }).fill('8'),
    changes: '.picture .costs',
  },
  { step: 9, act: (page) => race(page), changes: '.picture .lanes' },
  { step: 10, act: (page) => page.getByLabel('Elasticity of demand').fill('0.5'), changes: '.picture .pair' },
]

function pressed(page: Page, group: string, name: string): Promise<void> {
  return page
    .getByRole('group', { name: group, exact: true })
    .getByRole('button', { name, exact: true })
    .click()
}

async function race(page: Page): Promise<void> {
  await pressed(page, 'Tokens at once', '16 tokens')
  await page.getByRole('button', { name: 'Start the race' }).click()
  await page.getByText('times as fast').waitFor({ timeout: 120_000 })
}

/** The ten steps, as a reader goes through them. */
export function storyTests(site: () => Site): void {
  test('ten steps, one after the other, each with one thing to do that changes its picture or sentence', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url)
    for (const { step, act, changes } of STEPS) {
      await page.getByText(`Step ${step} of 10`).waitFor()
      await settled(page)
      expect(await page.getByRole('region', { name: 'Try it' }).count()).toBe(1)
      const shown = () => page.locator(changes).first().innerHTML()
      const before = await shown()
      await act(page)
      await expect.poll(shown).not.toBe(before)
      if (step < STEPS.length) await page.getByRole('link', { name: /^Next:/ }).click()
    }
    await page.getByRole('link', { name: 'To the playground' }).click()
    await page.getByRole('heading', { name: 'Playground' }).waitFor()
    await page.context().close()
  })

  test('a number opens to its formula and inputs, with the keyboard too', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#story/5')
    await settled(page)
    const fact = page.locator('.fact').first()
    await fact.focus()
    await page.keyboard.press('Enter')
    const note = page.locator('.note:popover-open')
    await note.waitFor()
    const text = await note.innerText()
    expect(text).toContain('what every token uses + its experts')
    expect(text).toContain('98.30K')
    await page.keyboard.press('Escape')
    await note.waitFor({ state: 'hidden' })
    await page.context().close()
  })

  test('a count inside a sentence opens too', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#story/5')
    await settled(page)
    const mixtures = mixturesOf(readConfig('tinymoe:moe').config.layers).map(({ router }) => router)
    const [awake, all] = [
      sum(mixtures.map(({ topK }) => topK)),
      sum(mixtures.map(({ numExperts }) => numExperts)),
    ]
    await page.getByRole('button', { name: `${awake} of ${all}: Experts that were awake` }).click()
    const note = page.locator('.note:popover-open')
    await note.waitFor()
    const inputs = await note.locator('.input').allInnerTexts()
    expect(inputs.map((input) => input.split(/\s*\n\s*/))).toEqual([
      ...mixtures.map(({ topK, numExperts }, layer) => [`layer ${layer}`, `${topK} of ${numExperts}`]),
      ['asleep', String(all - awake)],
    ])
    await page.context().close()
  })

  test('the bytes of each width are those of the formula', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#story/8')
    await settled(page)
    const rows = await page.locator('.widths tbody tr').allInnerTexts()
    expect(rows.map((row) => row.split('\t'))).toEqual(
      bytesByWidth(readConfig('tinymoe:moe').config).map(({ name, stored, read }) => [
        name,
        si(stored, 'B'),
        si(read, 'B'),
      ]),
    )
    expect(rows.length).toBe(4)
    await page.context().close()
  })

  test("with the router's own weights the mix is what the model computed", async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#story/6')
    await settled(page)
    await page.getByRole('button', { name: 'what the model computed' }).waitFor()
    await page.context().close()
  })
}
