import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Indented blocks of a page that begin with `$ tinymoe trace`: the command line and the output shown for it. */
function examples(page: string): [command: string, output: string][] {
  const lines = readFileSync(`${ROOT}/${page}`, 'utf8').split('\n')
  return lines.flatMap((line, start) => {
    if (!line.startsWith('    $ tinymoe trace ')) return []
    let end = start + 1
    while (lines[end].startsWith('    ') || (lines[end] === '' && lines[end + 1]?.startsWith('    '))) end++
    const output = lines.slice(start + 1, end).map((shown) => shown.slice(4))
    return [[line.slice('    $ tinymoe '.length), output.join('\n')]]
  })
}

test.each(
  ['README.md', 'docs/trace.md'].flatMap((page) =>
    examples(page).map(([command, output]) => [page, command, output]),
  ),
)('%s shows what `%s` prints', (_, command, output) => {
  const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain)
  const printed = execFileSync(
    process.execPath,
    ['--import', 'tsx', 'src/cli/main.ts', '--device', 'cpu', ...args],
    {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    },
  )
  expectSame(printed, output)
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
