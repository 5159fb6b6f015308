import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { FLOAT_DTYPES, type FloatDtypeName } from '../../src/checkpoint/dtype.ts'
import { exportModel } from '../../src/checkpoint/export.ts'
import type { CheckpointLayout } from '../../src/checkpoint/published.ts'
import { loadModel } from '../../src/load-model.ts'
import { write } from '../../src/script/output.ts'
import { runScript } from '../../src/script/run.ts'

/*
 * For check_exports.py: writes models as `tinymoe export` does, as a JSON list on stdin asks, and prints a list of what each then gives
 * after a prompt, logits [T][V] computed in float32.
 */

interface Asked {
  directory: string
  out: string
  dtype: FloatDtypeName
  layout: CheckpointLayout
  prompt: number[]
}

async function logitsOf({ directory, out, dtype, layout, prompt }: Asked): Promise<number[][]> {
  await exportModel(directory, out, { dtype: FLOAT_DTYPES[dtype], layout })
  const model = await loadModel(out, { dtype: 'float32', executor: 'eager' })
  try {
    const { logits } = model.forward(prompt)
    const rows = logits.arraySync() as number[][]
    logits.dispose()
    return rows
  } finally {
    model.dispose()
  }
}

const program = new Command('tsx bench/peers/exports.ts').action(async () => {
  const all: number[][][] = []
  for (const asked of JSON.parse(readFileSync(0, 'utf8')) as Asked[]) all.push(await logitsOf(asked))
  await write(`${JSON.stringify(all)}\n`)
})

await runScript(program)
