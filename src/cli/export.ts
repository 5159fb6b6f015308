import type { Command } from 'commander'
import { FLOAT_DTYPES } from '../checkpoint/dtype.ts'
import { exportModel, type WriteHooks } from '../checkpoint/export.ts'
import { LAYOUTS } from '../checkpoint/published.ts'
import { removeEmpty } from '../files.ts'
import { modelDirectory } from '../package.ts'
import { addFlags, allOptions, flags, type Given, MODEL_ARGUMENT, REQUIRED } from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'
import { withProgress } from '../script/progress.ts'

/** How a model is written. */
export const WRITTEN = flags({
  dtype: [
    '<name>',
    'type of the numbers in the files',
    Object.keys(FLOAT_DTYPES) as (keyof typeof FLOAT_DTYPES)[],
    'bf16',
  ],
  layout: [
    '<name>',
    'published: as on the hub, a tensor an expert in most families; fused: all experts of a layer in one',
    LAYOUTS,
    'published',
  ],
})

const FLAGS = flags({ out: ['<dir>', 'folder that gets the model', undefined, REQUIRED], ...WRITTEN })

const EXAMPLES = `
Examples:
  $ tinymoe export models/moe --out runs/moe-f32 --dtype f32
  $ tinymoe export ~/gpt-oss-20b --out runs/gpt-oss-bf16      quantised weights are widened first
`

export function register(program: Command): void {
  addFlags(program.command('export'), FLAGS)
    .description('Writes a model as a Hugging Face directory again, in another type of numbers or layout.')
    .argument(...MODEL_ARGUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (model: string, _: unknown, command: Command) => {
      const { out, dtype, layout, json } = allOptions<Given<typeof FLAGS>>(command)
      const dir = modelDirectory(model)
      const made = checkOutputs({ flag: '--out', path: out, kind: 'folder' })
      const options = { dtype: FLOAT_DTYPES[dtype], layout }
      const remarks = await writingModel(made, (hooks) => exportModel(dir, out, options, hooks))
      if (remarks === null) return
      for (const text of remarks) remark(text)
      await write(
        json ? `${JSON.stringify({ out, dtype, layout })}\n` : `${out}: ${dtype}, ${layout} layout\n`,
      )
    })
}

/**
 * Runs what writes a model, with a bar. A signal ends it: null then. Without a model nothing of it is left, nor are those of the folders
 * `made` for it that are empty.
 */
export async function writingModel<T>(
  made: readonly string[],
  work: (hooks: WriteHooks) => Promise<T>,
): Promise<T | null> {
  let written: T | null = null
  try {
    await interruptible('no model is written', (signal) =>
      withProgress('writing', async (onProgress) => {
        written = await work({ signal, onShare: (share) => onProgress(share, 'tensors') })
      }),
    )
  } finally {
    if (written === null) removeEmpty(made)
  }
  return written
}
