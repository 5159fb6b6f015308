/**
 * Makes a Mixtral of random weights to measure engines on: `npx tsx models/make-random.ts --size small --out DIR`.
 * No tokenizer, the same bytes every time.
 */
import { Command, Option } from 'commander'
import { saveCheckpoint } from '../src/checkpoint/save.ts'
import { seed } from '../src/script/arguments.ts'
import { checkOutputs } from '../src/script/outputs.ts'
import { runScript } from '../src/script/run.ts'
import { product } from '../src/sums.ts'
import { type MixtralSizes, mixtralConfig } from './mixtral.ts'

/** By parameters: 15 million, 0.2 billion, 0.9 billion. */
const SIZES: Record<string, MixtralSizes> = {
  tiny: { D: 256, H: 512, layers: 4, heads: 8, keyValueHeads: 4, E: 8, K: 2, V: 512, positions: 4096 },
  small: { D: 512, H: 1024, layers: 8, heads: 8, keyValueHeads: 4, E: 16, K: 2, V: 4096, positions: 4096 },
  medium: {
    D: 1024,
    H: 2048,
    layers: 8,
    heads: 16,
    keyValueHeads: 8,
    E: 16,
    K: 2,
    V: 32000,
    positions: 4096,
  },
}

/**
 * Uniform numbers of variance 1/inputs, so that activations keep their size; norms of one. A plain 32-bit xorshift
 * (Marsaglia 2003), because a billion normal draws would take a minute.
 */
function weightsFrom(seed: number): (name: string, shape: number[]) => Float32Array {
  let state = (seed * 2654435761) >>> 0 || 1
  return (_, shape) => {
    const values = new Float32Array(product(shape))
    if (shape.length === 1) return values.fill(1)
    const step = Math.sqrt(3 / shape[1]) / 2 ** 31
    for (let i = 0; i < values.length; i++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      values[i] = state * step
    }
    return values
  }
}

function make({
  size,
  out,
  seed,
  dtype,
}: {
  size: string
  out: string
  seed: number
  dtype: 'F32' | 'BF16'
}): void {
  checkOutputs({ flag: '--out', path: out, kind: 'folder' })
  saveCheckpoint(out, mixtralConfig(SIZES[size]), dtype, weightsFrom(seed), {
    'generation_config.json': { bos_token_id: 1, eos_token_id: 2 },
  })
  process.stdout.write(`wrote ${out}\n`)
}

const program = new Command('tsx models/make-random.ts')
  .description('Makes a Mixtral of random weights to measure engines on.')
  .usage('--size NAME --out DIR [--dtype NAME] [--seed N]')
  .addOption(
    new Option('--size <name>', '15 million, 0.2 billion or 0.9 billion parameters')
      .choices(Object.keys(SIZES))
      .makeOptionMandatory(),
  )
  .requiredOption('--out <dir>', 'folder for the model')
  .addOption(
    new Option('--dtype <name>', 'what weights are stored in').choices(['F32', 'BF16']).default('F32'),
  )
  .option('--seed <n>', 'the same seed gives the same bytes', seed, 1)
  .action(make)

await runScript(program)
