import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** Where files of `folder` import from. */
function importsOf(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name))
  return files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/from '(\.[^']+)'/g)].map(([, path]) => `${file}: ${path}`),
    )
}

test.each([
  ['bench', /src\/cli\//],
  ['models', /src\/cli\//],
  ['src/script', /\/cli\//],
  ['src/eval', /\/train\//],
  ['src/corpus', /\/(train|eval)\//],
])('%s imports nothing of %s', (folder, other) => {
  expect(importsOf(folder).filter((line) => other.test(line.split(': ')[1]))).toEqual([])
})
