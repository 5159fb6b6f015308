import { type Command, InvalidArgumentError, Option } from 'commander'
import { DOMAINS, type Domain } from '../corpus/index.ts'
import { EVAL_SPLITS } from '../eval/domains.ts'
import { EVAL_DEFAULTS, type EvalOptions, evaluate } from '../eval/run.ts'
import type { LoadOptions } from '../load-model.ts'
import {
  allOptions,
  dispatchOption,
  executorOption,
  expertsOnDiskOption,
  type GlobalOptions,
  MODEL_ARGUMENT,
  seed,
  wholeNumber,
} from '../script/arguments.ts'
import { interruptible } from '../script/interrupt.ts'
import { write } from '../script/output.ts'
import { checkOutputs, writeOutput } from '../script/outputs.ts'
import { withProgress } from '../script/progress.ts'
import { evalText } from './eval-text.ts'
import { withModel } from './loading.ts'

interface Flags extends EvalOptions, Pick<LoadOptions, 'executor' | 'dispatch' | 'expertsOnDisk'> {
  out?: string
}

/** Two hours or so on two cores, and documents that fit in memory. */
const MAX_SAMPLES = 10_000

const EXAMPLES = `
Texts and questions are of this project's corpus, of a split that no model was trained on. docs/eval.md says how
everything is measured.

Examples:
  $ tinymoe eval runs/moe/model
  $ tinymoe eval runs/moe/model --experts --out eval.json
  $ tinymoe eval runs/moe/checkpoint --split validation --samples 20 --domains arithmetic,dates --json
`

export function registerEval(program: Command): void {
  program
    .command('eval')
    .description("Loss, right answers, cost and speed of a model on texts of this project's corpus.")
    .argument(...MODEL_ARGUMENT)
    .addOption(new Option('--split <name>', 'texts to use').choices(EVAL_SPLITS).default(EVAL_DEFAULTS.split))
    .option(
      '--samples <n>',
      'documents of each domain for the loss; questions of each form at most',
      wholeNumber(1, MAX_SAMPLES),
      EVAL_DEFAULTS.samples,
    )
    .option('--seed <n>', 'of the texts: one seed, the same texts', seed, EVAL_DEFAULTS.seed)
    .option('--domains <list>', `such as story,code (default: ${DOMAINS.join(',')})`, domainList)
    .option('--experts', 'also what the experts specialise in, and what is lost without each')
    .option('--out <file>', 'write the JSON here')
    .addOption(dispatchOption())
    .addOption(executorOption())
    .addOption(expertsOnDiskOption())
    .addHelpText('after', EXAMPLES)
    .action((dir: string, _: unknown, command: Command) => runEval(dir, allOptions<Flags>(command)))
}

function domainList(text: string): Domain[] {
  const names = text.split(',').map((name) => name.trim())
  if (!names.every((name): name is Domain => (DOMAINS as readonly string[]).includes(name))) {
    throw new InvalidArgumentError(`Expected names from ${DOMAINS.join(', ')}, separated by commas.`)
  }
  return names
}

async function runEval(dir: string, flags: Flags & GlobalOptions): Promise<void> {
  const { json, out } = flags
  checkOutputs({ flag: '--out', path: out })
  await interruptible('no report is written', async (signal) => {
    const work = withModel(dir, flags, async (model) => {
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
    await work.catch((error) => {
      if (!signal.aborted) throw error
    })
  })
}
