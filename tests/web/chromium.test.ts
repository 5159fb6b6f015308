import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { chromiumPath } from '../../src/web/build/chromium.ts'

const folder = mkdtempSync(join(tmpdir(), 'tinymoe-browsers-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Folders of a PATH, by what lies in them. */
function folderOf(name: string, ...programs: string[]): string {
  mkdirSync(join(folder, name))
  for (const program of programs) {
    writeFileSync(join(folder, name, program), '')
    chmodSync(join(folder, name, program), 0o755)
  }
  return join(folder, name)
}

test('the browser is the one that is named, else the first known name in PATH, else none', () => {
  const [chrome, both] = [folderOf('a', 'google-chrome'), folderOf('b', 'chromium', 'google-chrome')]
  const PATH = ['', chrome, both].join(delimiter)
  expect(chromiumPath({ PATH })).toBe(join(both, 'chromium'))
  expect(chromiumPath({ PATH: chrome })).toBe(join(chrome, 'google-chrome'))
  const named = join(folderOf('c', 'my-browser'), 'my-browser')
  expect(chromiumPath({ PATH, CHROMIUM: named })).toBe(named)
  expect(chromiumPath({ PATH: folderOf('d', 'firefox'), CHROMIUM: '' })).toBeNull()
  expect(chromiumPath({})).toBeNull()
})

test('a folder and a file that cannot be run are no browsers; naming one is a mistake', () => {
  const PATH = folderOf('e')
  mkdirSync(join(PATH, 'chromium'))
  writeFileSync(join(PATH, 'google-chrome'), '', { mode: 0o644 })
  expect(chromiumPath({ PATH })).toBeNull()
  const missing = join(PATH, 'none')
  for (const CHROMIUM of [missing, join(PATH, 'chromium'), join(PATH, 'google-chrome')]) {
    expect(() => chromiumPath({ PATH, CHROMIUM })).toThrow(
      `CHROMIUM: is ${CHROMIUM}, expected the file of a browser that can be run`,
    )
  }
})
