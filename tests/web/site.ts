import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
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

/** Until the first model runs in the page. */
export async function ready(page: Page): Promise<void> {
  await page.getByText('running here').waitFor({ timeout: 120_000 })
}

/** Opens a part of the page with the engine running. */
export async function open(page: Page, url: string, hash = ''): Promise<void> {
  await page.goto(`${url}${hash}`)
  await ready(page)
}

/** Until nothing is computed any more. */
export async function settled(page: Page): Promise<void> {
  await page.waitForFunction(
    () => !document.querySelector('.busy.on') && !document.querySelector('[aria-busy=true]'),
    null,
    {
      timeout: 120_000,
    },
  )
}
