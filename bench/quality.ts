import { join } from 'node:path'
import { Command } from 'commander'
import { writeAtomically } from '../src/files.ts'
import { packageRoot } from '../src/package.ts'
import { addFlags, flags, type Given } from '../src/script/flags.ts'
import { checkOutputs } from '../src/script/outputs.ts'
import { runScript } from '../src/script/run.ts'
import { qualityPicture } from './quality/picture.ts'
import { readQuality } from './quality/read.ts'
import { qualityMarkdown } from './quality/table.ts'

/*
 * `tsx bench/quality.ts [--results DIR] [--picture FILE]`: from the evaluations of the shipped models (eval-<model>.json) and
 * the study over seeds (study.json, else study-facts.json) in DIR, draws docs/quality.svg and writes DIR/quality.md.
 */

const FLAGS = flags({
  results: [
    '<dir>',
    'where the evaluations and the study are',
    undefined,
    join(packageRoot(), 'bench', 'results'),
  ],
  picture: ['<file>', 'where the picture goes', undefined, join(packageRoot(), 'docs', 'quality.svg')],
})

function draw({ results, picture }: Given<typeof FLAGS>): void {
  checkOutputs({ flag: '--picture', path: picture }, { flag: '--results', path: results, kind: 'folder' })
  const quality = readQuality(results)
  writeAtomically(picture, qualityPicture(quality))
  writeAtomically(join(results, 'quality.md'), qualityMarkdown(quality))
  process.stdout.write(`${picture}\n${join(results, 'quality.md')}\n`)
}

const program = addFlags(new Command('tsx bench/quality.ts'), FLAGS)
  .description(
    'Draws the losses of the shipped models and of the study over seeds, and writes them as a page.',
  )
  .action(draw)

await runScript(program)
