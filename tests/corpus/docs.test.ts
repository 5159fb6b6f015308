import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { examplesMarkdown } from '../../src/corpus/examples.ts'
import { DOMAINS, generateSample } from '../../src/corpus/index.ts'

function show(...flags: string[]) {
  const args = ['--import', 'tsx', 'src/corpus/show.ts', ...flags]
  return spawnSync(process.execPath, args, { encoding: 'utf8' })
}

test('docs/corpus.md shows the samples that its command prints', () => {
  const docs = readFileSync(new URL('../../docs/corpus.md', import.meta.url), 'utf8')
  const { stdout, status } = show('--samples', '3', '--seed', '1')
  expect(status).toBe(0)
  expect(docs).toContain(stdout.trim())
})

test('the samples are those of the corpus, with lines broken', () => {
  const shown = examplesMarkdown(2, 'train', 4)
  for (const domain of DOMAINS) {
    expect(shown).toContain(`### ${domain}`)
    const { text } = generateSample(domain, 'train', 1, 4)
    expect(shown.replace(/\s+/g, ' ')).toContain(text.replace(/\s+/g, ' '))
  }
  for (const line of shown.split('\n')) expect(line.length).toBeLessThanOrEqual(110)
})

test.each([
  [['--split', 'test'], '--split is test'],
  [['--samples', '0'], '--samples is 0'],
  [['--seed', 'x'], '--seed is x'],
  [['--nothing'], 'nothing'],
])('show.ts %j prints the usage and exits 2', (flags, message) => {
  const { status, stderr } = show(...flags)
  expect(status).toBe(2)
  expect(stderr).toContain(message)
  expect(stderr).toContain('usage: show.ts')
})
