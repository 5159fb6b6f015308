import { type Command, InvalidArgumentError } from 'commander'
import type { RuntimeReport } from '../device/report.ts'
import { UsageError } from '../errors.ts'
import {
  DEFAULT_MAX_TOKENS,
  GENERATION_CONFIG,
  type Settings,
  settingsOf,
} from '../generate/generation-config.ts'
import type { Generated, GenerateResult } from '../generate/types.ts'
import type { LoadedModel } from '../load-model.ts'
import { type ExpertReads, hitRate } from '../model/weights.ts'
import * as read from '../script/arguments.ts'
import {
  addFlags,
  allOptions,
  DISPATCH,
  DTYPE,
  EXECUTOR,
  EXPERTS_ON_DISK,
  flagOf,
  flags,
  type Given,
  MODEL_ARGUMENT,
} from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { checkRunSize } from '../script/run-size.ts'
import { shown } from '../text/foreign.ts'
import { counted, percent, si, thousands } from '../text/units.ts'
import { withModel } from './loading.ts'
import { textFromStdin } from './stdin.ts'

/** At this temperature every token is as likely as any other. */
const MAX_TEMPERATURE = 1000
const MAX_PENALTY = 1000
/** More tokens than any vocabulary has. */
const MAX_VOCABULARY = 1e7

const EXAMPLES = `
What is left out is as the model's generation_config.json says, where it has one.

Examples:
  $ tinymoe generate models/moe --prompt "Once upon a time" --max-tokens 100
  $ tinymoe generate models/moe --prompt "Once" --temperature 0.8 --top-p 0.95 --seed 7
  $ cat prompt.txt | tinymoe generate models/moe --prompt - --stop "The end" --json
  $ tinymoe generate models/moe --tokens 1,5,34 --json
`

const FLAGS = flags({
  prompt: ['<text>', 'text to continue; - reads it from stdin, without its last line break'],
  tokens: ['<ids>', 'token ids to continue, such as 1,2,3', read.tokenIds],
  maxTokens: ['<n>', `new tokens at most; else ${DEFAULT_MAX_TOKENS}`, read.wholeNumber(1, read.MAX_TOKENS)],
  temperature: ['<x>', '0 takes the most likely token; else 0', read.from(0, MAX_TEMPERATURE)],
  topK: ['<n>', 'draw from this many most likely tokens; 0 is off', read.wholeNumber(0, MAX_VOCABULARY)],
  topP: ['<x>', 'draw from the most likely tokens that reach this sum', read.positive(1)],
  minP: ['<x>', 'draw from tokens this share as likely as the best', read.from(0, 1)],
  repetitionPenalty: ['<x>', 'above 1 repeats less', read.positive(MAX_PENALTY)],
  seed: ['<n>', 'of the draws: the same seed gives the same text', read.seed, 0],
  stop: ['<text>', 'end before this text; may be given several times', read.repeated(stopText)],
  dispatch: DISPATCH,
  executor: EXECUTOR,
  dtype: DTYPE,
  expertsOnDisk: EXPERTS_ON_DISK,
})

export function register(program: Command): void {
  addFlags(program.command('generate'), FLAGS)
    .description('Continues a text or token ids with the model of a directory, on stdout as it comes.')
    .argument(...MODEL_ARGUMENT)
    .addHelpText('after', EXAMPLES)
    .action((dir: string, _: unknown, command: Command) => runGenerate(dir, command))
}

function stopText(text: string): string {
  if (text === '') throw new InvalidArgumentError('Expected a text of at least one character.')
  return text
}

async function runGenerate(dir: string, command: Command): Promise<void> {
  const { json, device, debug, executor, dtype, expertsOnDisk, ...options } =
    allOptions<Given<typeof FLAGS>>(command)
  if ((options.prompt === undefined) === (options.tokens === undefined)) {
    throw new UsageError('generate takes either --prompt or --tokens')
  }
  const prompt = options.prompt === '-' ? await textFromStdin('--prompt') : options.prompt
  await interruptible('the text ends here', async (signal) => {
    const how = { device, debug, dispatch: options.dispatch, executor, dtype, expertsOnDisk }
    await withModel(dir, how, async (model) => {
      const settings = settingsOf(options, model.generation)
      checkSize(options.tokens?.length ?? 0, settings, model)
      const run = model.generate({ ...options, prompt, signal })
      remarkNotFollowed(model)
      if (json) await write(`${JSON.stringify({ ...toJson(await run.done, model), settings })}\n`)
      else await show(run, model, settings)
    })
  })
}

function checkSize(tokens: number, { maxTokens: { value, source } }: Settings, model: LoadedModel): void {
  const flag = source === GENERATION_CONFIG ? `${source}'s max_new_tokens` : '--max-tokens'
  checkRunSize(`${flag} ${value}`, model, { sequences: 1, tokens: tokens + value })
}

/** What the model's authors meant and does not happen. */
function remarkNotFollowed({ generation }: LoadedModel): void {
  const names = Object.entries(generation?.notFollowed ?? {}).map(
    ([name, value]) => `${name} ${shown(value)}`,
  )
  if (names.length > 0) remark(`${GENERATION_CONFIG}: not followed here: ${names.join(', ')}`)
}

function toJson(
  { tokens, text, promptTokens, finishReason, timings }: Generated,
  { tokenizer, runtime, dtype, expertReads }: LoadedModel,
) {
  return {
    tokens,
    text: tokenizer ? text : null,
    promptTokens,
    finishReason,
    device: runtime.device,
    dtype,
    ...(expertReads && { expertReads }),
    timings,
  }
}

/** Prints text as it comes (token ids where there is no tokenizer), then a line about the run on stderr. */
async function show(run: GenerateResult, model: LoadedModel, settings: Settings): Promise<void> {
  const { tokenizer } = model
  let written = 0
  for await (const { token, text } of run) {
    if (tokenizer) await write(text)
    else await write(written === 0 ? String(token) : `,${token}`)
    written += tokenizer ? text.length : 1
  }
  const generated = await run.done
  await write(`${tokenizer ? generated.text.slice(written) : ''}\n`) // an aborted run had held something back
  remark(summary(generated, model))
  const fromFile = Object.entries(settings).filter(([, { source }]) => source === GENERATION_CONFIG)
  if (fromFile.length === 0) return
  const said = fromFile.map(([name, { value }]) => `${flagOf(name)} ${shown(value)}`)
  remark(`[${GENERATION_CONFIG}: ${said.join(' ')}]`)
}

function summary(
  { tokens, promptTokens, finishReason, timings }: Generated,
  { runtime, dtype, expertReads }: LoadedModel,
): string {
  const { prefillMs, graphsMs, tokensPerSecond } = timings
  const graphs = graphsMs > 0 ? `, ${graphsMs.toFixed(0)} ms in all for making graphs` : ''
  const speed = tokensPerSecond === null ? '' : `, ${tokensPerSecond.toFixed(1)} tokens/s`
  return (
    `[${counted(tokens.length, 'token')}${speed} (${finishReason}); prompt of ${counted(promptTokens, 'token')} in ${prefillMs.toFixed(0)} ms${graphs}; ` +
    `${deviceLine(runtime)}${dtype === 'float32' ? '' : `; ${dtype}`}${expertReads ? `; ${readsText(expertReads)}` : ''}]`
  )
}

function readsText(reads: ExpertReads): string {
  const needed = reads.hits + reads.misses
  return `experts on disk: ${percent(hitRate(reads) ?? 1)} of ${thousands(needed)} needed were in memory, ${si(reads.bytes, 'B')} read`
}

/** The device with the reason it was taken, and why each better one was not. */
function deviceLine({ device, reason, candidates }: RuntimeReport): string {
  const better = candidates.slice(
    0,
    candidates.findIndex(({ taken }) => taken),
  )
  return [`${device}: ${reason}`, ...better.map(({ device, reason }) => `${device} skipped: ${reason}`)].join(
    '; ',
  )
}
