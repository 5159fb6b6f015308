import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { addInterventionOptions } from '../../src/cli/trace-interventions.ts'
import { CSV_COLUMNS } from '../../src/trace/csv.ts'
import { KEYS } from '../../src/trace/step.ts'

const page = readFileSync(new URL('../../docs/trace.md', import.meta.url), 'utf8')

test('docs/trace.md has every key, column and flag', () => {
  for (const [keys] of KEYS) expect(page).toContain(`| ${keys} |`)
  const columns = page.slice(page.indexOf('### CSV')).match(/^\| [a-z, ]+ \|/gm)!
  const named = columns.flatMap((line) => line.slice(1, -1).split(',')).map((name) => name.trim())
  expect(named).toEqual(['column', ...Object.keys(CSV_COLUMNS)])
  for (const { long } of addInterventionOptions(new Command()).options) expect(page).toContain(`\`${long} `)
})
