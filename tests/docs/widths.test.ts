import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { countParameters } from '../../src/cost/parameters.ts'
import { bytesByWidth } from '../../src/cost/widths.ts'
import { readConfig } from '../../src/load-model.ts'

test("README's table of widths has the bundled model's bytes", () => {
  const page = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [, table] = /\| held in \|.*\n\|.*\n((?:\|.*\n)+)/.exec(page)!
  const shown = table
    .trim()
    .split('\n')
    .map((line) =>
      line
        .split('|')
        .slice(1, 5)
        .map((cell) => cell.trim().replace(/,.*/, '')),
    )
  const { config } = readConfig('tinymoe:moe')
  const { total } = countParameters(config)
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(2)
  expect(shown).toEqual(
    bytesByWidth(config).map(({ name, stored, read, readByAll }) => {
      return [name, ((8 * stored) / total).toFixed(1), megabytes(readByAll), megabytes(read)]
    }),
  )
})
