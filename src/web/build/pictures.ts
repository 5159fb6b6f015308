import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { serve } from '../../script/static-server.ts'
import { chromiumPath, launch } from './chromium.ts'
import { animatedWebp, type Frame } from './webp.ts'

/* README's pictures of the page, of what `npm run page:build` has built: docs/page.webp and docs/page-tokens.webp. */

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const WIDTH = 1180
const QUALITY = 0.82
const FRAME_MS = 1100
const STILL = '#play?prompt=Once+upon+a+time+there+was+a+clever&off=1:3,3:0'

const chromium = chromiumPath()
if (!chromium) throw new Error('pictures: no Chromium in PATH, and none named by CHROMIUM')
const { server, url } = await serve({ '/': { folder: join(ROOT, 'dist/page') } }, 0)
const browser = await launch(chromium)
const page = await browser.newPage({ viewport: { width: WIDTH, height: 660 }, reducedMotion: 'reduce' })
await page.goto(url)
await page.getByText('running here').waitFor()

await page.goto(`${url}#story/5`)
const frames: Frame[] = []
for (const token of await page.locator('.token').all()) {
  await token.click()
  await settled(page)
  frames.push({ webp: await webpOf(page), ms: FRAME_MS })
}
writeFileSync(join(ROOT, 'docs/page-tokens.webp'), animatedWebp(frames, WIDTH, 660))

await page.setViewportSize({ width: 1440, height: 1320 })
await page.goto(`${url}${STILL}`)
await page.getByRole('heading', { name: 'Before and after' }).waitFor()
await settled(page)
writeFileSync(join(ROOT, 'docs/page.webp'), await webpOf(page))
await browser.close()
server.close()

async function settled(page: Page): Promise<void> {
  await page.waitForFunction("!document.querySelector('.busy.on')")
}

/** What is seen, encoded by the browser itself. */
async function webpOf(page: Page): Promise<Buffer> {
  const png = (await page.screenshot()).toString('base64')
  const base64 = await page.evaluate(
    async ([data, quality]) => {
      const image = new Image()
      image.src = `data:image/png;base64,${data}`
      await image.decode()
      const canvas = document.createElement('canvas')
      canvas.width = image.naturalWidth
      canvas.height = image.naturalHeight
      canvas.getContext('2d')!.drawImage(image, 0, 0)
      return canvas.toDataURL('image/webp', quality).split(',')[1]
    },
    [png, QUALITY] as const,
  )
  return Buffer.from(base64, 'base64')
}
