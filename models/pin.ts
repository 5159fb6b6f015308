import { mkdirSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { writeAtomically } from '../src/checkpoint/save.ts'
import { messageOf, TinymoeError } from '../src/errors.ts'
import { loadModel } from '../src/load-model.ts'
import { measurePin, modelDir, pinFile, trainedModels } from '../tests/shipped/pins.ts'

/*
 * Writes what tests/shipped hold the trained models to: `npx tsx models/pin.ts [DIR...]`, by default all in models/.
 * Native CPU, op by op: the same on every machine but for the last digits.
 */

async function pin(dir: string): Promise<void> {
  const model = await loadModel(dir, { device: 'cpu', executor: 'eager' })
  try {
    const file = pinFile(basename(resolve(dir)))
    mkdirSync(dirname(file), { recursive: true })
    writeAtomically(file, `${JSON.stringify(await measurePin(model), null, 1)}\n`)
    process.stdout.write(`${file}\n`)
  } finally {
    model.dispose()
  }
}

try {
  const { positionals } = parseArgs({ allowPositionals: true })
  for (const dir of positionals.length > 0 ? positionals : trainedModels().map(modelDir)) await pin(dir)
} catch (error) {
  const usage = error instanceof TypeError && 'code' in error
  if (!usage && !(error instanceof TinymoeError)) throw error
  process.stderr.write(`error: ${messageOf(error)}\n${usage ? 'usage: tsx models/pin.ts [DIR...]\n' : ''}`)
  process.exitCode = usage ? 2 : 1
}
