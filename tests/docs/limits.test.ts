import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

test('every limit names a section of the log that is there, or says that the log has none', () => {
  const headings = read('docs/log.md').match(/^## .*$/gm)!
  const [, body] = read('src/backend/limits.ts').split('LIMITS = {')
  const limits = [...body.matchAll(/\/\*\*([\s\S]*?)\*\/\s*(\w+):/g)]
  expect(limits.length).toBeGreaterThan(10)
  for (const [, comment, name] of limits) {
    const sections = [...comment.matchAll(/"([^"]+)"/g)].map(([, section]) => section)
    if (sections.length === 0) expect(comment, name).toMatch(/Not in the log|with two|that is done/)
    for (const section of sections) {
      expect(
        headings.some((heading) => heading.includes(section)),
        `${name}: ${section}`,
      ).toBe(true)
    }
  }
})

test('no file of the model or the graphs has a limit of rows, tokens or sizes of its own', () => {
  const files = ['src/model', 'src/graph'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`),
  )
  const own = files.filter((file) =>
    /^(export )?const \w*(FEW|LEAST|MOST|MIN|MAX|UP_TO|LIMIT)\w* =\s+\d/m.test(read(file)),
  )
  expect(own).toEqual([])
})
