import { execSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const RUN = 'npm run -s tinymoe -- '

/** Indented blocks of a page that begin with a `trace` as it runs in a checkout: the command line and the output shown for it. */
function examples(page: string): [command: string, output: string][] {
  const lines = readFileSync(`${ROOT}/${page}`, 'utf8').split('\n')
  return lines.flatMap((line, start) => {
    if (!line.startsWith(`    $ ${RUN}trace `)) return []
    let end = start + 1
    while (lines[end].startsWith('    ') || (lines[end] === '' && lines[end + 1]?.startsWith('    '))) end++
    const output = lines.slice(start + 1, end).map((shown) => shown.slice(4))
    return [[line.slice('    $ '.length), output.join('\n')]]
  })
}

test.each(
  ['README.md', 'docs/trace.md'].flatMap((page) =>
    examples(page).map(([command, output]) => [page, command, output]),
  ),
)('%s shows what `%s` prints, as it stands there', (_, command, output) => {
  const env = { ...process.env, NO_COLOR: '1', TINYMOE_DEVICE: 'cpu' }
  expectSame(execSync(command, { cwd: ROOT, encoding: 'utf8', env }), output)
})

test('README shows at least one, and no command that a checkout does not have', () => {
  const page = readFileSync(`${ROOT}/README.md`, 'utf8')
  expect(examples('README.md')).not.toEqual([])
  expect(page).not.toMatch(/^ *\$ tinymoe/m)
  const { scripts } = JSON.parse(readFileSync(`${ROOT}/package.json`, 'utf8'))
  const named = [...page.matchAll(/npm run (?:-s )?([\w-]+)/g)].map(([, name]) => name)
  expect(named).toContain('bench')
  for (const name of named) expect(Object.keys(scripts)).toContain(name)
  for (const [, file] of page.matchAll(/(?:npx )?tsx ([\w/.-]+\.ts)/g))
    expect(existsSync(`${ROOT}/${file}`)).toBe(true)
})

test("README's first command sets up, then benches: its flags are the bench's", () => {
  const [, first] = /^ {4}npm ci && (npm run \w+)$/m.exec(readFileSync(`${ROOT}/README.md`, 'utf8'))!
  expect(execSync(`${first} -- --help`, { cwd: ROOT, encoding: 'utf8' })).toContain('Usage: tinymoe bench')
})

/** Equal but for the last digit of decimals: processors round sums differently. */
function expectSame(printed: string, shown: string): void {
  const decimal = /\d+\.\d+/g
  const lines = printed.trimEnd().split('\n')
  const clean = lines.map((line) => line.trimEnd()).join('\n')
  expect(clean.replace(decimal, '#')).toBe(shown.replace(decimal, '#'))
  const numbers = clean.match(decimal) ?? []
  shown.match(decimal)?.forEach((text, i) => {
    const unit = 10 ** -text.split('.')[1].length
    expect(Math.abs(Number(numbers[i]) - Number(text)), `${numbers[i]} for ${text}`).toBeLessThan(1.5 * unit)
  })
}
