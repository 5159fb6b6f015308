import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { clockOfWork, go, open, ready, type Site, settled } from './site.ts'

/** What a model needs to run again without a network, below models/. */
const MODEL_FILES = [
  'index.json',
  'moe/config.json',
  'moe/generation_config.json',
  'moe/tokenizer.json',
  'moe/tokenizer_config.json',
  'moe/model.safetensors',
]
/** Bytes of a first visit, headers included. */
const FIRST_VISIT = 10e6
/** Of the page's own work until it shows itself; waiting for the network and for the machine comes on top. */
const FIRST_PAINT_MS = 1000
/** Of all the page's JavaScript, compressed. */
const SCRIPTS = 450e3
/** How much of the view may move while the page comes: far below what a reader notices (0.1 is called good). */
const LAYOUT_SHIFT = 0.02

/** What a first visit costs, and what works after it without a network. */
export function visitTests(site: () => Site): void {
  test('a first visit is under 10 MB, shows itself before the model is there, and works offline after', async () => {
    const { visit, url, sent, hold } = site()
    const before = sent()
    const page = await visit()
    const worked = await clockOfWork(page)
    const release = hold('/model.safetensors')
    await page.goto(url)
    await page.getByRole('heading', { name: 'A token arrives' }).waitFor()
    await page.getByRole('status').getByRole('progressbar').waitFor({ state: 'attached' })
    expect(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint').length)).toBe(1)
    const ms = await worked()
    expect(ms).toBeGreaterThan(0)
    expect(ms).toBeLessThan(FIRST_PAINT_MS)
    release()
    await ready(page)
    const missing = () =>
      page.evaluate(async (files) => {
        const kept = await Promise.all(files.map((file) => caches.match(`models/${file}`)))
        return files.filter((_, i) => !kept[i])
      }, MODEL_FILES)
    await expect.poll(missing).toEqual([])
    await page.context().setOffline(true)
    await go(page, '#play')
    await page.reload()
    await ready(page)
    await page.getByRole('button', { name: 'Step', exact: true }).click()
    await page.locator('.written .new').waitFor()
    expect(sent() - before).toBeLessThan(FIRST_VISIT)
    await page.context().close()
  })

  test('the scripts are small, and nothing is asked of anybody else', async () => {
    const { folder, visit, url } = site()
    const assets = join(folder, 'assets')
    const scripts = readdirSync(assets).filter((name) => name.endsWith('.js'))
    const bytes = scripts.reduce((sum, name) => sum + gzipSync(readFileSync(join(assets, name))).length, 0)
    expect(bytes).toBeLessThan(SCRIPTS)
    const page = await visit()
    const asked: string[] = []
    page.on('request', (request) => asked.push(request.url()))
    await open(page, url, '#calculator')
    await page.locator('.plot svg').waitFor()
    expect(asked.filter((address) => !address.startsWith(url))).toEqual([])
    await page.context().close()
  })

  test('it lies in any folder of a host: links are relative', () => {
    const html = readFileSync(join(site().folder, 'index.html'), 'utf8')
    const links = Array.from(html.matchAll(/(?:src|href)="([^"]+)"/g), ([, link]) => link)
    expect(links.length).toBeGreaterThan(2)
    expect(links.filter((link) => !link.startsWith('./'))).toEqual([])
  })

  test.each([360, 1280, 3840])('at %i pixels nothing is cut off, and nothing jumps', async (width) => {
    const { visit, url } = site()
    const page = await visit({ viewport: { width, height: 900 } })
    await page.addInitScript(() => {
      Object.assign(globalThis, { shift: 0 })
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
          const { value, hadRecentInput } = entry as unknown as { value: number; hadRecentInput: boolean }
          if (!hadRecentInput) (globalThis as unknown as { shift: number }).shift += value
        }
      }).observe({ type: 'layout-shift', buffered: true })
    })
    await open(page, url)
    await settled(page)
    expect(await page.evaluate(() => (globalThis as unknown as { shift: number }).shift)).toBeLessThan(
      LAYOUT_SHIFT,
    )
    const views = [...Array.from({ length: 10 }, (_, i) => `#story/${i + 1}`), '#play', '#calculator']
    const wide: string[] = []
    for (const view of views) {
      await go(page, view)
      if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) wide.push(view)
    }
    expect(wide).toEqual([])
    await page.context().close()
  })

  test("a change answers within 100 ms of the page's own work: with its result or with progress", async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#play')
    await settled(page)
    const worked = await clockOfWork(page)
    const before = await worked()
    await page.evaluate(async () => {
      const slider = document.querySelector<HTMLInputElement>('.changes input[type=range]')!
      slider.value = '1'
      slider.dispatchEvent(new Event('input', { bubbles: true }))
      while (!document.querySelector('.busy.on')) await new Promise((resolve) => setTimeout(resolve))
    })
    const ms = (await worked()) - before
    expect(ms).toBeGreaterThan(0)
    expect(ms).toBeLessThan(100)
    await page.getByRole('heading', { name: 'Before and after' }).waitFor()
    await page.context().close()
  })
}
