import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { open, ready, type Site, settled } from './site.ts'

/** Bytes of a first visit, headers included. */
const FIRST_VISIT = 10e6
/** Of all the page's JavaScript, compressed. */
const SCRIPTS = 450e3
/** How much of the view may move while the page comes: far below what a reader notices (0.1 is called good). */
const LAYOUT_SHIFT = 0.02

/** What a first visit costs, and what works after it without a network. */
export function visitTests(site: () => Site): void {
  test('a first visit is under 10 MB, shows itself before the model is there, and works offline after', async () => {
    const { visit, url, sent } = site()
    const before = sent()
    const page = await visit()
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    await page.route('**/model.safetensors', async (route) => {
      await held
      await route.continue()
    })
    await page.goto(url)
    await page.getByRole('heading', { name: 'A token arrives' }).waitFor()
    await page.getByRole('status').getByRole('progressbar').waitFor()
    const paint = await page.evaluate(
      () => performance.getEntriesByName('first-contentful-paint')[0].startTime,
    )
    expect(paint).toBeLessThan(1000)
    release()
    await ready(page)
    await page.evaluate(() => navigator.serviceWorker.ready)
    await page.context().setOffline(true)
    await open(page, url, '#play')
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
      await page.goto(`${url}${view}`)
      await settled(page)
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
    const client = await page.context().newCDPSession(page)
    await client.send('Performance.enable', { timeDomain: 'threadTicks' }) // processor time: the machine may be busy
    const worked = async () => {
      const { metrics } = await client.send('Performance.getMetrics')
      return 1000 * metrics.find(({ name }) => name === 'TaskDuration')!.value
    }
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
