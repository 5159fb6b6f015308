import type { Command } from 'commander'
import { ALL_DOMAINS, DOMAINS } from '../corpus/index.ts'
import { UsageError } from '../errors.ts'
import { EVAL_SPLITS } from '../eval/domains.ts'
import { EVAL_DEFAULTS, evaluate } from '../eval/run.ts'
import * as read from '../script/arguments.ts'
import { factsFlag } from '../script/facts-size.ts'
import type { Given, GlobalOptions } from '../script/flags.ts'
import {
  addFlags,
  allOptions,
  DISPATCH,
  EXECUTOR,
  EXPERTS_ON_DISK,
  flags,
  MODEL_ARGUMENT,
} from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { write } from '../script/output.ts'
import { checkOutputs, writeOutput } from '../script/outputs.ts'
import { withProgress } from '../script/progress.ts'
import { evalText } from './eval-text.ts'
import { withModel } from './loading.ts'

/** Two hours or so on two cores, and documents that fit in memory. */
const MAX_SAMPLES = 10_000

const EXAMPLES = `
Texts and questions are of this project's corpus, of a split that no model was trained on. docs/eval.md says how
everything is measured.

Examples:
  $ tinymoe eval runs/moe/model
  $ tinymoe eval runs/moe/model --experts --out eval.json
  $ tinymoe eval moe-facts --facts --experts
  $ tinymoe eval runs/moe/checkpoint --split validation --samples 20 --domains arithmetic,dates --json
`

const FLAGS = flags({
  split: ['<name>', 'texts to use', EVAL_SPLITS, EVAL_DEFAULTS.split],
  samples: [
    '<n>',
    'documents of each domain for the loss; questions of each form at most',
    read.wholeNumber(1, MAX_SAMPLES),
    EVAL_DEFAULTS.samples,
  ],
  seed: ['<n>', 'of the texts: one seed, the same texts', read.seed, EVAL_DEFAULTS.seed],
  domains: ['<list>', `such as story,code (default: ${DOMAINS.join(',')})`, read.namesOf(ALL_DOMAINS)],
  facts: factsFlag('also what it recalls of the facts of so many entities, as it was trained on'),
  experts: ['', 'also what the experts specialise in, and what is lost without each'],
  out: ['<file>', 'write the JSON here'],
  dispatch: DISPATCH,
  executor: EXECUTOR,
  expertsOnDisk: EXPERTS_ON_DISK,
})
type Flags = Given<typeof FLAGS>

export function register(program: Command): void {
  addFlags(program.command('eval'), FLAGS)
    .description("Loss, right answers, cost and speed of a model on texts of this project's corpus.")
    .argument(...MODEL_ARGUMENT)
    .addHelpText('after', EXAMPLES)
    .action((dir: string, _: unknown, command: Command) => runEval(dir, allOptions<Flags>(command)))
}

async function runEval(dir: string, flags: Flags & GlobalOptions): Promise<void> {
  const { json, out } = flags
  if (flags.domains?.includes('facts') && !flags.facts)
    throw new UsageError('eval --domains facts needs --facts: how many entities the model was trained on')
  checkOutputs({ flag: '--out', path: out })
  await interruptible('no report is written', async (signal) => {
    await withModel(dir, flags, async (model) => {
      const report = await withProgress('eval', (onProgress) =>
        evaluate(model, flags, { signal, onProgress }),
      )
      const line = `${JSON.stringify(report)}\n`
      const failure = out === undefined ? null : writeOutput('--out', out, line)
      await write(json ? line : evalText(report))
      if (!failure) return
      if (!json) await write(line) // made in a minute or an hour: it must not be lost
      throw failure
    })
  })
}
