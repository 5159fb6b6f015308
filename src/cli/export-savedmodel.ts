import { type Command, Option } from 'commander'
import type { ExportedModel } from '../graph/saved-model.ts'
import type { ServingDispatch } from '../graph/saved-model-record.ts'
import { allOptions } from '../script/arguments.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { table } from '../text/columns.ts'

interface Flags {
  dispatch: ServingDispatch
}

/** Exit code of a program ended by SIGTERM, as shells have it. */
const TERMINATED = 143

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
  const { loadModel } = await import('../load-model.ts')
  assertFree(out) // before the long work
  await stoppable(async (signal) => {
    const model = await loadModel(dir, { device, debug, executor: 'eager' })
    try {
      const onProgress = process.stderr.isTTY ? showShare : undefined
      const exported = await exportSavedModel(model, out, { dispatch, signal, onProgress })
      if (!exported) remark('interrupted, nothing was written')
      else await write(json ? `${JSON.stringify(exported)}\n` : toText(exported))
    } finally {
      model.dispose()
    }
  })
}

/** Ctrl-C and SIGTERM both end the work where it can be ended: a directory half written stays behind neither. */
function stoppable(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  return interruptible(async (interrupt) => {
    const stop = new AbortController()
    const terminate = () => {
      process.exitCode = TERMINATED
      stop.abort()
    }
    interrupt.addEventListener('abort', () => stop.abort())
    process.on('SIGTERM', terminate)
    try {
      await work(stop.signal)
    } finally {
      process.off('SIGTERM', terminate)
    }
  })
}

function showShare(share: number): void {
  process.stderr.write(`\rrecording ${Math.round(100 * share)}%${share < 1 ? '' : '\r\x1b[K'}`)
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
