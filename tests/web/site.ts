import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { serve } from '../../src/script/static-server.ts'
import { launch } from '../../src/web/build/chromium.ts'
import { REPOSITORY } from '../cli/run-cli.ts'
import { run } from '../package/fresh-project.ts'

/** The built page on a server of its own, and a browser. */
export interface Site {
  folder: string
  url: string
  browser: Browser
  /** What pages said on their consoles, errors and warnings. */
  complaints: string[]
  /** Bytes that the server has sent. */
  sent(): number
  /** Lets requests that end so wait until the function it gives is called. */
  hold(end: string): () => void
  /** A page of a new visitor. */
  visit(options?: BrowserContextOptions): Promise<Page>
  close(): Promise<void>
}

export async function startSite(chromium: string): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), 'tinymoe-page-'))
  const build = await run(process.execPath, ['--import', 'tsx', 'src/web/build/build.ts', folder], REPOSITORY)
  if (build.code !== 0) throw new Error(`the page cannot be built:\n${build.stderr}`)
  const { server, url } = await serve({ '/': { folder } }, 0)
  const sockets = watchSockets(server)
  const hold = holder(server)
  const browser = await launch(chromium)
  const complaints: string[] = []
  const visit = async (options: BrowserContextOptions = {}) => {
    const context = await browser.newContext({ acceptDownloads: true, ...options })
    const page = await context.newPage()
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(String(error)))
    return page
  }
  return {
    folder,
    url,
    browser,
    complaints,
    sent: () => sockets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
    hold,
    visit,
    async close() {
      await browser.close()
      server.close()
      rmSync(folder, { recursive: true })
    },
  }
}

function watchSockets(server: Server): Socket[] {
  const sockets: Socket[] = []
  server.on('connection', (socket) => sockets.push(socket))
  return sockets
}

/** At the server, as a service worker's requests pass by what watches a page. */
function holder(server: Server): Site['hold'] {
  const [answer] = server.listeners('request') as RequestListener<typeof IncomingMessage>[]
  let held: { end: string; released: Promise<void> } | null = null
  server.removeAllListeners('request')
  server.on('request', async (request, response) => {
    if (held && request.url?.endsWith(held.end)) await held.released
    answer(request, response)
  })
  return (end) => {
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    held = { end, released }
    return release
  }
}

/** Until the first model runs in the page. */
export async function ready(page: Page): Promise<void> {
  await page.getByText('running here').waitFor({ timeout: 120_000 })
}

/** Opens a part of the page with the engine running. */
export async function open(page: Page, url: string, hash = ''): Promise<void> {
  await page.goto(`${url}${hash}`)
  await ready(page)
}

/** Goes to another part of the open page; done when it shows its results. */
export async function go(page: Page, hash: string): Promise<void> {
  await page.evaluate((to) => location.assign(to), hash)
  const [, view, step] = hash.match(/^#(\w+)(?:\/(\d+))?/)!
  const named = { play: 'Playground', calculator: 'Calculator' }[view]
  await (named ? page.getByRole('heading', { name: named }) : page.getByText(`Step ${step} of 10`)).waitFor()
  await settled(page)
}

/** Until nothing is computed any more. What is asked shows as busy from the very frame that shows the question. */
export async function settled(page: Page): Promise<void> {
  await page.waitForFunction(() => !document.querySelector('.busy.on, [aria-busy=true]'), null, {
    timeout: 120_000,
  })
}

/** Milliseconds that the page's own thread has worked: unlike the clock, whatever else the machine does leaves it alone. */
export async function clockOfWork(page: Page): Promise<() => Promise<number>> {
  const client = await page.context().newCDPSession(page)
  await client.send('Performance.enable', { timeDomain: 'threadTicks' })
  return async () => {
    const { metrics } = await client.send('Performance.getMetrics')
    return 1000 * metrics.find(({ name }) => name === 'TaskDuration')!.value
  }
}
