import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chromiumPath } from '../../src/web/build/chromium.ts'
import { accessTests } from './access.ts'
import { engineTests } from './engine.ts'
import { ownFilesTests } from './own-files.ts'
import { playgroundTests } from './playground.ts'
import { type Site, startSite } from './site.ts'
import { storyTests } from './story.ts'
import { visitTests } from './visit.ts'

const chromium = chromiumPath()
if (!chromium) {
  console.warn(
    'tests/web skipped: no Chromium in PATH (Debian: apt-get install chromium) and none named by CHROMIUM',
  )
}

describe.skipIf(!chromium)('the page in Chromium', () => {
  let site: Site
  beforeAll(async () => {
    site = await startSite(chromium!)
  }, 600_000)
  afterAll(() => site?.close())

  const given = () => site
  visitTests(given)
  engineTests(given)
  storyTests(given)
  playgroundTests(given)
  ownFilesTests(given)
  accessTests(given)

  test('no page had anything to complain about', () => {
    expect(site.complaints).toEqual([])
  })
})
