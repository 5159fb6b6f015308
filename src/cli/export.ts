import type { Command } from 'commander'
import type { FloatDtype } from '../checkpoint/dtype.ts'
import { exportModel } from '../checkpoint/export.ts'
import { LAYOUTS } from '../checkpoint/published.ts'
import { modelDirectory } from '../package.ts'
import { addFlags, allOptions, flags, type Given, MODEL_ARGUMENT, REQUIRED } from '../script/flags.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'

/** As PyTorch's users say them. */
export const FLOAT_DTYPES = { bf16: 'BF16', f16: 'F16', f32: 'F32' } as const satisfies Record<
  string,
  FloatDtype
>

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
      checkOutputs({ flag: '--out', path: out, kind: 'folder' })
      const dir = modelDirectory(model)
      for (const text of exportModel(dir, out, { dtype: FLOAT_DTYPES[dtype], layout })) remark(text)
      await write(
        json ? `${JSON.stringify({ out, dtype, layout })}\n` : `${out}: ${dtype}, ${layout} layout\n`,
      )
    })
}
