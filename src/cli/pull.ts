import type { Command } from 'commander'
import { hubName } from '../checkpoint/hub-cache.ts'
import { UsageError } from '../errors.ts'
import { allOptions } from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { write } from '../script/output.ts'
import { withProgress } from '../script/progress.ts'

const EXAMPLES = `
The token of HF_TOKEN or of a login is used, HF_HOME and HF_ENDPOINT count as elsewhere. A pull that was cut off goes on.

Examples:
  $ tinymoe pull allenai/OLMoE-1B-7B-0924
  $ tinymoe pull Qwen/Qwen3-30B-A3B@main
`

export function register(program: Command): void {
  program
    .command('pull')
    .description(
      'Brings a model from the Hugging Face Hub into its usual cache; then its name stands for it.',
    )
    .argument('<org/name>', 'as on the hub; @revision for a branch, tag or commit')
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _: unknown, command: Command) => {
      const name = hubName(text)
      if (!name) throw new UsageError(`pull ${text}: expected org/name, or org/name@revision`)
      const { json } = allOptions(command)
      const { pullModel } = await import('../checkpoint/pull.ts')
      await interruptible('what has come is kept, and the next pull goes on', async (signal) => {
        const dir = await withProgress(name.repo, (show) =>
          pullModel(name, {
            signal,
            onProgress: (done, total, file) =>
              show(done / total, `${(done / 1e9).toFixed(2)} of ${(total / 1e9).toFixed(2)} GB  ${file}`),
          }),
        )
        await write(json ? `${JSON.stringify({ ...name, dir })}\n` : `${dir}\n`)
      })
    })
}
