import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { DOMAINS, generateSample } from '../../src/corpus/index.ts'

function show(...flags: string[]) {
  const args = ['--import', 'tsx', 'models/show-corpus.ts', ...flags]
  return spawnSync(process.execPath, args, { encoding: 'utf8' })
}

test('docs/corpus.md shows the samples that its command prints', () => {
  const docs = readFileSync(new URL('../../docs/corpus.md', import.meta.url), 'utf8')
  const { stdout, status } = show('--samples', '3', '--seed', '1')
  expect(status).toBe(0)
  expect(docs).toContain(stdout.trim())
})

test('the samples are those of the corpus, with lines broken', () => {
  const { stdout: shown } = show('--samples', '2', '--seed', '4')
  for (const domain of DOMAINS) {
    expect(shown).toContain(`### ${domain}`)
    const { text } = generateSample(domain, 'train', 1, 4)
    expect(shown.replace(/\s+/g, ' ')).toContain(text.replace(/\s+/g, ' '))
  }
  for (const line of shown.split('\n')) expect(line.length).toBeLessThanOrEqual(110)
})

test.each([
  [['--split', 'test'], "'--split <name>' argument 'test'"],
  [['--samples', '0'], "'--samples <n>' argument '0'"],
  [['--seed', 'x'], "'--seed <n>' argument 'x'"],
  [['--nothing'], 'nothing'],
])('show-corpus %j prints the usage and exits 2', (flags, message) => {
  const { status, stderr } = show(...flags)
  expect(status).toBe(2)
  expect(stderr).toContain(message)
  expect(stderr).toContain('usage: show-corpus')
})
