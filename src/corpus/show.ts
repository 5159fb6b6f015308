// Prints documents of each domain: npx tsx src/corpus/show.ts [--samples 3] [--seed 1] [--split train]
import { parseArgs } from 'node:util'
import { messageOf, UsageError } from '../errors.ts'
import { examplesMarkdown } from './examples.ts'
import { SPLITS } from './index.ts'

try {
  const { values } = readOptions()
  const split = SPLITS.find((name) => name === values.split)
  const [samples, seed] = [Number(values.samples), Number(values.seed)]
  if (!split) throw new UsageError(`--split is ${values.split}, expected ${SPLITS.join(', ')}`)
  if (!Number.isInteger(samples) || samples < 1) {
    throw new UsageError(`--samples is ${values.samples}, expected 1 or more`)
  }
  if (!Number.isInteger(seed)) throw new UsageError(`--seed is ${values.seed}, expected a whole number`)
  console.log(examplesMarkdown(samples, split, seed))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message}\nusage: show.ts [--samples N] [--seed N] [--split ${SPLITS.join('|')}]`)
  process.exitCode = error.exitCode
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        samples: { type: 'string', default: '3' },
        seed: { type: 'string', default: '1' },
        split: { type: 'string', default: 'train' },
      },
    })
  } catch (error) {
    throw new UsageError(messageOf(error))
  }
}
