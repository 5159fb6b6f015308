import { accessSync, constants, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { writeAtomically } from '../checkpoint/save.ts'
import { DOMAINS, type Domain } from '../corpus/index.ts'
import { InputError, messageOf } from '../errors.ts'
import { EVAL_DEFAULTS, type EvalOptions, evaluate } from '../eval/run.ts'
import { EVAL_SPLITS } from '../eval/types.ts'
import type { LoadOptions } from '../load-model.ts'
import {
  allOptions,
  dispatchOption,
  executorOption,
  type GlobalOptions,
  MODEL_ARGUMENT,
  wholeNumber,
} from '../script/arguments.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { withProgress } from '../script/progress.ts'
import { evalText } from './eval-text.ts'
import { loadTold } from './loading.ts'

interface Flags extends EvalOptions, Pick<LoadOptions, 'executor' | 'dispatch'> {
  out?: string
}

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
    .summary('how good a model is, and at what cost')
    .description("Loss, right answers, cost and speed of a model on texts of this project's corpus.")
    .argument(...MODEL_ARGUMENT)
    .addOption(new Option('--split <name>', 'texts to use').choices(EVAL_SPLITS).default(EVAL_DEFAULTS.split))
    .option(
      '--samples <n>',
      'documents of each domain for the loss; questions of each form at most',
      wholeNumber(1),
      EVAL_DEFAULTS.samples,
    )
    .option('--seed <n>', 'of the texts: one seed, the same texts', wholeNumber(0), EVAL_DEFAULTS.seed)
    .option('--domains <list>', `such as story,code (default: ${DOMAINS.join(',')})`, domainList)
    .option('--experts', 'also what the experts specialise in, and what is lost without each')
    .option('--out <file>', 'write the JSON here')
    .addOption(dispatchOption())
    .addOption(executorOption())
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
  if (out !== undefined) checkWritable(out)
  await interruptible('no report is written', async (signal) => {
    const model = await loadTold(dir, flags)
    try {
      const report = await withProgress('eval', (onProgress) =>
        evaluate(model, flags, { signal, onProgress }),
      )
      const line = `${JSON.stringify(report)}\n`
      if (out !== undefined) writeReport(out, line)
      await write(json ? line : evalText(report))
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      model.dispose()
    }
  })
}

/** Asked before the work, so that no result is lost for want of a place. */
function checkWritable(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true })
    accessSync(dirname(file), constants.W_OK)
  } catch (error) {
    throw notWritable(file, messageOf(error))
  }
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) throw notWritable(file, 'is a directory')
}

function writeReport(file: string, content: string): void {
  try {
    writeAtomically(file, content)
  } catch (error) {
    throw notWritable(file, messageOf(error))
  }
  remark(`[written: ${file}]`)
}

function notWritable(file: string, why: string): InputError {
  return new InputError(`--out ${file}: cannot be written (${why})`)
}
