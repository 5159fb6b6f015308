import { type Command, Option } from 'commander'
import type { ExportedModel } from '../graph/saved-model.ts'
import type { ServingDispatch } from '../graph/saved-model-record.ts'
import { allOptions } from './arguments.ts'
import { interruptible } from './interrupt.ts'
import { remark, table, write } from './output.ts'
import { withProgress } from './progress.ts'

interface Flags {
  dispatch: ServingDispatch
}

const EXAMPLES = `
TensorFlow Serving and TensorFlow for Python load the directory; docs/savedmodel.md says how.

Examples:
  $ tinymoe export-savedmodel models/moe served/moe/1
  $ tinymoe export-savedmodel models/moe /tmp/moe --dispatch dense --json
`

export function registerExportSavedModel(program: Command): void {
  program
    .command('export-savedmodel')
    .summary('the model as a TensorFlow SavedModel')
    .description(
      "Writes the recorded forward with its weights as a TensorFlow SavedModel: token ids to logits, and the same with a kv-cache handed in and out. Batch and length stay the caller's choice.",
    )
    .argument('<dir>', 'Hugging Face model directory: config.json, safetensors')
    .argument('<out>', 'directory to make; an empty one may be there')
    .addOption(
      new Option('--dispatch <name>', 'how experts are run').choices(['sparse', 'dense']).default('sparse'),
    )
    .addHelpText('after', EXAMPLES)
    .action((dir: string, out: string, _: unknown, command: Command) => runExport(dir, out, command))
}

async function runExport(dir: string, out: string, command: Command): Promise<void> {
  const { dispatch, device, debug, json } = allOptions<Flags>(command)
  const { assertFree, exportSavedModel } = await import('../graph/saved-model.ts')
  const { loadTold } = await import('./loading.ts')
  assertFree(out) // before the long work
  await interruptible('no directory is left half written', async (signal) => {
    const model = await loadTold(dir, { device, debug, executor: 'eager' })
    try {
      const exported = await withProgress('recording', (onProgress) =>
        exportSavedModel(model, out, { dispatch, signal, onProgress: (share) => onProgress(share, '') }),
      )
      if (!exported) remark('interrupted, nothing was written')
      else await write(json ? `${JSON.stringify(exported)}\n` : toText(exported))
    } finally {
      model.dispose()
    }
  })
}

function toText(exported: ExportedModel): string {
  const { dir, nodes, variables, variableBytes, signatures } = exported
  const rows = Object.entries(signatures).flatMap(([signature, { inputs, outputs }]) =>
    Object.entries({ input: inputs, output: outputs }).flatMap(([side, tensors]) =>
      Object.entries(tensors).map(([name, { dtype, shape }]) => {
        const sizes = shape.map((size) => size ?? '?').join(', ')
        return [signature, side, name, dtype, `[${sizes}]`]
      }),
    ),
  )
  return `${table([['signature', '', 'tensor', 'dtype', 'shape'], ...rows], [0, 1, 2, 3, 4])}
${dir}: ${nodes} nodes, ${(variableBytes / 1e6).toFixed(1)} MB of weights in ${variables} variables
`
}
