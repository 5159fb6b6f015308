import { type Command, Option } from 'commander'
import type { FloatDtype } from '../checkpoint/dtype.ts'
import { exportModel } from '../checkpoint/export.ts'
import { type CheckpointLayout, LAYOUTS } from '../checkpoint/published.ts'
import { modelDirectory } from '../package.ts'
import { allOptions, MODEL_ARGUMENT } from '../script/arguments.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'

interface Options {
  out: string
  dtype: FloatDtypeName
  layout: CheckpointLayout
}

/** As PyTorch's users say them. */
export const FLOAT_DTYPES = { bf16: 'BF16', f16: 'F16', f32: 'F32' } as const satisfies Record<
  string,
  FloatDtype
>
export type FloatDtypeName = keyof typeof FLOAT_DTYPES

const EXAMPLES = `
Examples:
  $ tinymoe export models/moe --out runs/moe-f32 --dtype f32
  $ tinymoe export ~/gpt-oss-20b --out runs/gpt-oss-bf16      quantised weights are widened first
`

export function registerExport(program: Command): void {
  program
    .command('export')
    .description('Writes a model as a Hugging Face directory again, in another type of numbers or layout.')
    .argument(...MODEL_ARGUMENT)
    .requiredOption('--out <dir>', 'folder that gets the model')
    .addOption(dtypeOfFiles())
    .addOption(layoutOption())
    .addHelpText('after', EXAMPLES)
    .action(async (model: string, _: unknown, command: Command) => {
      const { out, dtype, layout, json } = allOptions<Options>(command)
      checkOutputs({ flag: '--out', path: out, kind: 'folder' })
      const dir = modelDirectory(model)
      for (const text of exportModel(dir, out, { dtype: FLOAT_DTYPES[dtype], layout })) remark(text)
      await write(
        json ? `${JSON.stringify({ out, dtype, layout })}\n` : `${out}: ${dtype}, ${layout} layout\n`,
      )
    })
}

/** `--dtype` of what is written. */
export function dtypeOfFiles(): Option {
  return new Option('--dtype <name>', 'type of the numbers in the files')
    .choices(Object.keys(FLOAT_DTYPES))
    .default('bf16')
}

export function layoutOption(): Option {
  return new Option(
    '--layout <name>',
    'published: as on the hub, a tensor an expert in most families; fused: all experts of a layer in one',
  )
    .choices([...LAYOUTS])
    .default('published')
}
