import type { Command } from 'commander'
import { FLOAT_DTYPES } from '../checkpoint/dtype.ts'
import { UsageError } from '../errors.ts'
import { modelDirectory } from '../package.ts'
import { seed, wholeNumber } from '../script/arguments.ts'
import { addFlags, allOptions, flags, type Given, MODEL_ARGUMENT, REQUIRED } from '../script/flags.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'
import { upcycleModel } from '../train/upcycle.ts'
import { WRITTEN, writingModel } from './export.ts'

const MAX_EXPERTS = 1024

const EXAMPLES = `
Example:
  $ tinymoe upcycle models/dense-active --out runs/upcycled --experts 8 --top-k 2
`

const FLAGS = flags({
  out: ['<dir>', 'folder that gets the mixture', undefined, REQUIRED],
  experts: ['<n>', 'experts of a layer', wholeNumber(1, MAX_EXPERTS), 8],
  topK: ['<n>', 'experts a token goes to', wholeNumber(1, MAX_EXPERTS), 2],
  seed: ['<n>', 'of the routers', seed, 1],
  ...WRITTEN,
})

export function register(program: Command): void {
  addFlags(program.command('upcycle'), FLAGS)
    .description(
      'Makes a mixture of a dense Llama: every expert is a copy, so that it gives the same logits until trained.',
    )
    .argument(...MODEL_ARGUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (model: string, _: unknown, command: Command) => {
      const { out, dtype, json, ...options } = allOptions<Given<typeof FLAGS>>(command)
      const { experts, topK, layout } = options
      if (topK > experts) throw new UsageError(`--top-k ${topK}: expected at most --experts ${experts}`)
      const dir = modelDirectory(model)
      const made = checkOutputs({ flag: '--out', path: out, kind: 'folder' })
      const settings = { experts, topK, seed: options.seed, layout, dtype: FLOAT_DTYPES[dtype] }
      const remarks = await writingModel(made, (hooks) => upcycleModel(dir, out, settings, hooks))
      if (remarks === null) return
      for (const text of remarks) remark(text)
      const text = `${out}: ${experts} experts, top-${topK}, ${dtype}\n`
      await write(json ? `${JSON.stringify({ out, experts, topK, dtype, layout })}\n` : text)
    })
}
