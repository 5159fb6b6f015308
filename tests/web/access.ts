import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type axe from 'axe-core'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { go, open, type Site, settled } from './site.ts'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const VIEWS = [
  ...Array.from({ length: 10 }, (_, i) => `#story/${i + 1}`),
  '#play',
  '#play?k=1&off=0:1,3:0&capacity=0.5,drop',
  '#calculator',
]

/** What axe finds, a line a fault. */
async function faults(page: Page): Promise<string[]> {
  const { violations } = (await page.evaluate('axe.run()')) as axe.AxeResults
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`))
}

/** Keyboard, screen reader, colours. */
export function accessTests(site: () => Site): void {
  test.each(['light', 'dark'] as const)('axe finds nothing, %s', async (colorScheme) => {
    const { visit, url } = site()
    const page = await visit({ colorScheme })
    await open(page, url)
    await page.evaluate(AXE)
    const found: string[] = []
    for (const view of VIEWS) {
      await go(page, '#story/1') // so that a playground is a new one
      await go(page, view)
      if (view.startsWith('#play')) await page.getByRole('button', { name: /^Expert 1 of layer 0/ }).click()
      await settled(page)
      found.push(...(await faults(page)).map((fault) => `${view} ${fault}`))
    }
    expect(found).toEqual([])
    await page.context().close()
  })

  test('the heat map is walked with the arrow keys', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#play')
    await settled(page)
    await page.locator('.decision[aria-pressed=true]').focus()
    for (const key of ['ArrowUp', 'ArrowUp', 'ArrowRight']) await page.keyboard.press(key)
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-place'))
    await expect.poll(focused).toBe('5:1')
    await expect.poll(() => page.locator('#token-heading').innerText()).toContain('in layer 1')
    await page.context().close()
  })

  test('who wants no motion gets none', async () => {
    const { visit, url } = site()
    const page = await visit({ reducedMotion: 'reduce' })
    await open(page, url, '#story/3')
    const moving = await page.evaluate(
      () =>
        [...document.querySelectorAll('*')].filter((element) => {
          const { animationName, transitionDuration } = getComputedStyle(element)
          return animationName !== 'none' || transitionDuration.split(', ').some((time) => time !== '0s')
        }).length,
    )
    expect(moving).toBe(0)
    await page.context().close()
  })
}
