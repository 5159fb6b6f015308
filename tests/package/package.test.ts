import { rmSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { packAndInstall, tryUnder } from './package.ts'

// `npm run test:package` does the same under other versions of Node.
test('the built package works under this Node, with no warning', { timeout: 600_000 }, async () => {
  const folder = await packAndInstall()
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const { said, warnings } = await tryUnder(process.execPath, folder)
  expect(warnings).toEqual([])
  expect(said.find(({ command }) => command.startsWith('generate'))?.stdout).toMatch(/^ there was a \w+/)
})
