import type { Command } from 'commander'
import { FLOAT_DTYPES, type FloatDtypeName } from '../checkpoint/dtype.ts'
import type { CheckpointLayout } from '../checkpoint/published.ts'
import { UsageError } from '../errors.ts'
import { modelDirectory } from '../package.ts'
import { allOptions, MODEL_ARGUMENT, seed, wholeNumber } from '../script/arguments.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'
import { upcycleModel } from '../train/upcycle.ts'
import { dtypeOfFiles, layoutOption, writingModel } from './export.ts'

interface Options {
  out: string
  experts: number
  topK: number
  seed: number
  dtype: FloatDtypeName
  layout: CheckpointLayout
}

const MAX_EXPERTS = 1024

const EXAMPLES = `
Example:
  $ tinymoe upcycle models/dense-active --out runs/upcycled --experts 8 --top-k 2
`

export function registerUpcycle(program: Command): void {
  program
    .command('upcycle')
    .description(
      'Makes a mixture of a dense Llama: every expert is a copy, so that it gives the same logits until trained.',
    )
    .argument(...MODEL_ARGUMENT)
    .requiredOption('--out <dir>', 'folder that gets the mixture')
    .option('--experts <n>', 'experts of a layer', wholeNumber(1, MAX_EXPERTS), 8)
    .option('--top-k <n>', 'experts a token goes to', wholeNumber(1, MAX_EXPERTS), 2)
    .option('--seed <n>', 'of the routers', seed, 1)
    .addOption(dtypeOfFiles())
    .addOption(layoutOption())
    .addHelpText('after', EXAMPLES)
    .action(async (model: string, _: unknown, command: Command) => {
      const { out, dtype, json, ...options } = allOptions<Options>(command)
      const { experts, topK, layout } = options
      if (topK > experts) throw new UsageError(`--top-k ${topK}: expected at most --experts ${experts}`)
      const dir = modelDirectory(model)
      checkOutputs({ flag: '--out', path: out, kind: 'folder' })
      const settings = { experts, topK, seed: options.seed, layout, dtype: FLOAT_DTYPES[dtype] }
      const remarks = await writingModel((hooks) => upcycleModel(dir, out, settings, hooks))
      if (remarks === null) return
      for (const text of remarks) remark(text)
      const text = `${out}: ${experts} experts, top-${topK}, ${dtype}\n`
      await write(json ? `${JSON.stringify({ out, experts, topK, dtype, layout })}\n` : text)
    })
}
