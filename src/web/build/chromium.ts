import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { InputError } from '../../errors.ts'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/**
 * The system's browser: the one named by CHROMIUM, else the first in PATH; null where there is none.
 * @throws InputError where CHROMIUM names none
 */
export function chromiumPath({ CHROMIUM, PATH }: NodeJS.ProcessEnv = process.env): string | null {
  if (CHROMIUM) {
    if (isProgram(CHROMIUM)) return CHROMIUM
    throw new InputError(`CHROMIUM: is ${CHROMIUM}, expected the file of a browser that can be run`)
  }
  const folders = (PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  return NAMES.flatMap((name) => folders.map((at) => join(at, name))).find(isProgram) ?? null
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

export function launch(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}
