import { basename, dirname, resolve } from 'node:path'
import { Command } from 'commander'
import { makeFolder, writeAtomically } from '../src/files.ts'
import { loadModel } from '../src/load-model.ts'
import { runScript } from '../src/script/run.ts'
import { measurePin, modelDir, pinFile, trainedModels } from '../tests/shipped/pins.ts'

/*
 * Writes what tests/shipped hold the trained models to: `npx tsx models/pin.ts [DIR...]`, by default all in models/.
 * Native CPU, op by op: the same on every machine but for the last digits.
 */

async function pin(dir: string): Promise<void> {
  const model = await loadModel(dir, { device: 'cpu', executor: 'eager' })
  try {
    const file = pinFile(basename(resolve(dir)))
    makeFolder(dirname(file))
    writeAtomically(file, `${JSON.stringify(await measurePin(model), null, 1)}\n`)
    process.stdout.write(`${file}\n`)
  } finally {
    model.dispose()
  }
}

const program = new Command('tsx models/pin.ts')
  .description('Writes what the tests of the shipped models hold them to.')
  .argument('[dirs...]', 'models; default: all in models/')
  .action(async (dirs: string[]) => {
    for (const dir of dirs.length > 0 ? dirs : trainedModels().map(modelDir)) await pin(dir)
  })

await runScript(program)
