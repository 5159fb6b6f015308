/** Makes models/random-mixtral: `npx tsx models/make-random-mixtral.ts [DIR]`. The same bytes every time. */
import { join } from 'node:path'
import { Command } from 'commander'
import { saveCheckpoint } from '../src/checkpoint/save.ts'
import { Random } from '../src/corpus/random.ts'
import { checkOutputs } from '../src/script/outputs.ts'
import { runScript } from '../src/script/run.ts'
import { product } from '../src/sums.ts'
import { trainTokenizer, VOCAB_SIZE } from '../src/train/tokenizer.ts'
import { mixtralConfig } from './mixtral.ts'

const SEED = 1

const config = mixtralConfig({
  D: 128,
  H: 256,
  layers: 4,
  heads: 4,
  keyValueHeads: 2,
  E: 8,
  K: 2,
  V: VOCAB_SIZE,
  positions: 1024,
})

const CARD = `# random-mixtral

A Mixtral-shaped mixture of experts with **random weights**, for benchmarks and for stepping through a router. It has
learned nothing: its text is noise.

- 4 layers, 8 experts of width 256 (top 2), width 128, 4 query and 2 key-value heads, 1,024 tokens; bfloat16.
- Made by \`npx tsx models/make-random-mixtral.ts\` with seed ${SEED}: normal weights with standard deviation
  1/sqrt(inputs), norms of one. The tokenizer is a byte-level BPE trained on this project's own generated corpus.
`

const random = new Random(SEED)

/** Normal with variance 1/inputs, so that activations keep their size; norms start at one. */
function values(_name: string, shape: number[]): Float32Array {
  const size = product(shape)
  if (shape.length === 1) return new Float32Array(size).fill(1)
  const scale = 1 / Math.sqrt(shape[1])
  return Float32Array.from({ length: size }, () => random.normal() * scale)
}

function make(dir: string): void {
  checkOutputs({ flag: '[dir]', path: dir, kind: 'folder' })
  saveCheckpoint(dir, config, 'BF16', values, {
    'tokenizer.json': JSON.stringify(trainTokenizer(SEED)),
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: '<s>',
      eos_token: '</s>',
      pad_token: '<pad>',
      clean_up_tokenization_spaces: false,
      model_max_length: config.maxPositionEmbeddings,
    },
    'generation_config.json': { bos_token_id: 1, eos_token_id: 2, pad_token_id: 0 },
    'README.md': CARD,
  })
  process.stdout.write(`wrote ${dir}\n`)
}

const program = new Command('tsx models/make-random-mixtral.ts')
  .description('Makes a Mixtral of random weights for benchmarks and tests.')
  .argument('[dir]', 'folder for the model', join(import.meta.dirname, 'random-mixtral'))
  .action((dir: string) => make(dir))

await runScript(program)
