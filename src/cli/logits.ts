import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import { checkPromptLength } from '../generate/generate.ts'
import { mostLikely } from '../generate/sampler.ts'
import type { LoadedModel } from '../load-model.ts'
import { rowsOf } from '../model/rows.ts'
import type { LayerTrace } from '../model/trace.ts'
import * as read from '../script/arguments.ts'
import {
  addFlags,
  allOptions,
  DISPATCH,
  DTYPE,
  EXECUTOR,
  EXPERTS_ON_DISK,
  flags,
  type Given,
  MODEL_ARGUMENT,
} from '../script/flags.ts'
import { jsonRow, writeAll } from '../script/output.ts'
import { checkRunSize } from '../script/run-size.ts'
import { table } from '../text/columns.ts'
import { quoted } from '../text/foreign.ts'
import { nineDigits } from '../text/number.ts'
import { counted } from '../text/units.ts'
import { withModel } from './loading.ts'

/** Next tokens listed a sequence, where output is for people. */
const LISTED = 5

const EXAMPLES = `
Examples:
  $ tinymoe logits models/moe --tokens 1,5,34
  $ tinymoe logits models/moe --tokens 1,5,34 --tokens 1,7 --trace --json > logits.json
`

const FLAGS = flags({
  tokens: ['<ids>', 'token ids of a sequence, such as 1,2,3; once a sequence', read.repeated(read.tokenIds)],
  trace: ['', 'also the experts each layer chose for each token'],
  dispatch: DISPATCH,
  executor: EXECUTOR,
  dtype: DTYPE,
  expertsOnDisk: EXPERTS_ON_DISK,
})

export function register(program: Command): void {
  addFlags(program.command('logits'), FLAGS)
    .description(
      'Logits at every position of one or several sequences (run as one batch), and what the routers chose.',
    )
    .argument(...MODEL_ARGUMENT)
    .addHelpText('after', EXAMPLES)
    .action((dir: string, _: unknown, command: Command) => runLogits(dir, command))
}

async function runLogits(dir: string, command: Command): Promise<void> {
  const { tokens, trace, json, ...options } = allOptions<Given<typeof FLAGS>>(command)
  if (!tokens) throw new UsageError('logits needs --tokens, at least once')
  await withModel(dir, options, async (model) => {
    for (const sequence of tokens) checkPromptLength(sequence.length, model.config)
    const longest = Math.max(...tokens.map((sequence) => sequence.length))
    checkRunSize(`--tokens, ${tokens.length} times`, model, {
      sequences: tokens.length,
      tokens: longest,
      whole: true,
    })
    const result = model.forward(tokens, { trace })
    const values = (await result.logits.data()) as Float32Array
    result.logits.dispose()
    const rows = realRows(values, tokens, model.config.vocabSize)
    const layers = result.trace?.layers ?? []
    await writeAll(json ? toJson(rows, layers) : toText(rows, layers, tokens, model))
  })
}

/** Logits [B, T, V] as one row [V] a token of each sequence, without the padding on the left. */
function realRows(logits: Float32Array, tokens: number[][], V: number): Float32Array[][] {
  const T = Math.max(...tokens.map((sequence) => sequence.length))
  return tokens.map((sequence, b) =>
    sequence.map((_, position) => {
      const row = b * T + T - sequence.length + position
      return logits.subarray(row * V, (row + 1) * V)
    }),
  )
}

/** The fixed form that scripts read, piece by piece: a whole one may be longer than a string can be. */
function* toJson(sequences: Float32Array[][], layers: LayerTrace[]): Generator<string> {
  yield '{"logits": ['
  for (const [b, rows] of sequences.entries()) {
    yield b === 0 ? '[' : ', ['
    for (const [position, row] of rows.entries()) yield (position === 0 ? '' : ', ') + jsonRow(row)
    yield ']'
  }
  yield '], "layers": ['
  for (const [i, layer] of layers.entries()) yield (i === 0 ? '' : ', ') + layerJson(layer)
  yield ']}\n'
}

function layerJson({ layer, numExperts, topK, ...trace }: LayerTrace): string {
  const floats = (values: Float32Array, width: number) =>
    rowsOf(values, width).map((row) => Array.from(row, nineDigits))
  return JSON.stringify({
    layer,
    routerLogits: floats(trace.routerLogits, numExperts),
    expertIndices: rowsOf(trace.expertIndices, topK).map((row) => [...row]),
    expertWeights: floats(trace.expertWeights, topK),
    tokensPerExpert: [...trace.tokensPerExpert],
  })
}

async function* toText(
  sequences: Float32Array[][],
  layers: LayerTrace[],
  tokens: number[][],
  { tokenizer }: LoadedModel,
): AsyncGenerator<string> {
  for (const [b, rows] of sequences.entries()) {
    const last = rows[rows.length - 1]
    yield `${b > 0 ? '\n' : ''}sequence ${b}, ${counted(rows.length, 'token')}: most likely next tokens\n`
    const best: string[][] = []
    for (const token of mostLikely(last, LISTED)) {
      const text = await tokenizer?.decode([token], { skipSpecialTokens: false })
      best.push([String(token), last[token].toFixed(4), ...(text === undefined ? [] : [quoted(text)])])
    }
    yield table([['token', 'logit', ...(tokenizer ? ['text'] : [])], ...best], [2])
  }
  if (layers.length > 0) yield* choicesText(layers, tokens)
}

/** One line a token and layer: its experts, most preferred first, with their weights. */
function* choicesText(layers: LayerTrace[], tokens: number[][]): Generator<string> {
  const places = tokens.flatMap((sequence, b) =>
    sequence.map((token, position) => [b, position, token].map(String)),
  )
  const rows = layers.flatMap((trace) => {
    const weights = rowsOf(trace.expertWeights, trace.topK)
    return rowsOf(trace.expertIndices, trace.topK).map((experts, t) => {
      const chosen = Array.from(experts, (expert, k) => `${expert} (${weights[t][k].toFixed(3)})`)
      return [String(trace.layer), ...places[t], chosen.join('  ')]
    })
  })
  yield '\nexperts chosen (weight)\n'
  yield table([['layer', 'sequence', 'position', 'token', 'experts'], ...rows], [4])
  yield '\ntokens per expert\n'
  const counts = layers.map((trace) => [String(trace.layer), Array.from(trace.tokensPerExpert).join(' ')])
  yield table([['layer', 'tokens, expert 0 first'], ...counts], [1])
}
