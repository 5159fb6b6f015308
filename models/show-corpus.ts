/** Prints documents of each domain of the corpus, as docs/corpus.md has them: `npx tsx models/show-corpus.ts --samples 3 --seed 1`. */
import { Command, Option } from 'commander'
import { DOMAINS, generateSample, SPLITS, type Split } from '../src/corpus/index.ts'
import { seed, wholeNumber } from '../src/script/arguments.ts'
import { write } from '../src/script/output.ts'
import { runScript } from '../src/script/run.ts'

/** Columns that a story, one long line, is broken at for reading. */
const WIDTH = 110
const LAST_SPACE = new RegExp(`(?=.{${WIDTH + 1}})(.{1,${WIDTH}}) `, 'g')

/** The first documents of each domain as Markdown. */
function examples(count: number, split: Split, seed: number): string {
  const sections = DOMAINS.map((domain) => {
    const samples = Array.from({ length: count }, (_, index) => generateSample(domain, split, index, seed))
    const blocks = samples.map(
      ({ form, text }) => `\`${form}\`\n\n\`\`\`text\n${text.replace(LAST_SPACE, '$1\n')}\n\`\`\``,
    )
    return [`### ${domain}`, ...blocks].join('\n\n')
  })
  return sections.join('\n\n')
}

await runScript(
  new Command('show-corpus')
    .option('--samples <n>', 'documents of each domain', wholeNumber(1, 1000), 3)
    .option('--seed <n>', 'of the documents', seed, 1)
    .addOption(new Option('--split <name>').choices(SPLITS).default('train'))
    .action(({ samples, seed, split }: { samples: number; seed: number; split: Split }) =>
      write(`${examples(samples, split, seed)}\n`),
    ),
)
