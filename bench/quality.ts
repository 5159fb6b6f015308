import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeAtomically } from '../src/checkpoint/save.ts'
import { messageOf, TinymoeError } from '../src/errors.ts'
import { qualityPicture } from './quality/picture.ts'
import { readQuality } from './quality/read.ts'
import { qualityMarkdown } from './quality/table.ts'
import { packageRoot } from './store.ts'

/*
 * `tsx bench/quality.ts [--results DIR] [--picture FILE]`: from the evaluations of the shipped models (eval-<model>.json) and
 * the study over seeds (study.json) in DIR, draws docs/quality.svg and writes DIR/quality.md.
 */

function main(): void {
  const { values } = parseArgs({ options: { results: { type: 'string' }, picture: { type: 'string' } } })
  const folder = values.results ?? join(packageRoot(), 'bench', 'results')
  const picture = values.picture ?? join(packageRoot(), 'docs', 'quality.svg')
  const quality = readQuality(folder)
  writeAtomically(picture, qualityPicture(quality))
  writeAtomically(join(folder, 'quality.md'), qualityMarkdown(quality))
  process.stdout.write(`${picture}\n${join(folder, 'quality.md')}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main()
  } catch (error) {
    const usage = error instanceof TypeError && 'code' in error
    if (!usage && !(error instanceof TinymoeError)) throw error
    process.stderr.write(`error: ${messageOf(error)}\n`)
    process.exitCode = usage ? 2 : 1
  }
}
