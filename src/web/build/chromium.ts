import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/** The system's browser: CHROMIUM, or what is in PATH; null where there is none. */
export function chromiumPath(): string | null {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const places = [process.env.CHROMIUM ?? '', ...NAMES.flatMap((name) => folders.map((at) => join(at, name)))]
  return places.find((path) => path !== '' && existsSync(path)) ?? null
}

export function launch(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}
