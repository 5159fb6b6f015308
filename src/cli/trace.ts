import { basename, resolve } from 'node:path'
import type { Command } from 'commander'
import { InputError, UsageError } from '../errors.ts'
import { type LoadedModel, readConfig } from '../load-model.ts'
import { mixturesOf } from '../model/config.ts'
import type { Interventions } from '../model/router/types.ts'
import * as read from '../script/arguments.ts'
import type { Given, GlobalOptions } from '../script/flags.ts'
import { addFlags, allOptions, DISPATCH, EXPERTS_ON_DISK, flags, MODEL_ARGUMENT } from '../script/flags.ts'
import { writeAll } from '../script/output.ts'
import { checkOutputs, writeOutput } from '../script/outputs.ts'
import { checkRunSize } from '../script/run-size.ts'
import { table } from '../text/columns.ts'
import { shown } from '../text/foreign.ts'
import { traceToCsv } from '../trace/csv.ts'
import { Decisions } from '../trace/decision.ts'
import { decisionLines } from '../trace/decision-text.ts'
import { heatMap } from '../trace/heatmap.ts'
import { tracePage } from '../trace/html.ts'
import { decisionToJson, traceToJson } from '../trace/json.ts'
import { readPageAssets } from '../trace/page/read.ts'
import { tracePicture } from '../trace/picture.ts'
import { type TraceRun, traceRun } from '../trace/run.ts'
import { layerStatistics, statisticsOf } from '../trace/statistics.ts'
import { tokenTexts } from '../trace/token-text.ts'
import { analyseCommand } from './analyse.ts'
import { colourDepth } from './colour-depth.ts'
import { withModel } from './loading.ts'
import { textFromStdin } from './stdin.ts'
import { answerCommand } from './trace-answer.ts'
import {
  addInterventionOptions,
  changesText,
  checkInterventions,
  type InterventionFlags,
  interventionsOf,
  namedAfterFlag,
} from './trace-interventions.ts'
import { parametersLines } from './trace-parameters.ts'
import { checkTerminal, walk } from './trace-step.ts'

/** A run with all that its views need. */
export interface Traced extends TraceRun {
  model: LoadedModel
  /** One a row; null without a tokenizer. */
  texts: string[] | null
  decisions: Decisions
  /** What was changed about the routing, as flags; null: nothing. */
  changes: string | null
}

const FROM_NONE = read.wholeNumber(0, read.MAX_TOKENS)
/** As many as a config may have. */
const MAX_LAYERS = 10_000
/** Columns of the views where there is no terminal. */
const DEFAULT_WIDTH = 100

const EXAMPLES = `
Without --layer and --token, prints tokens down, layers and experts across, and a table of the layers.
Layers, experts and positions count from 0. docs/trace.md explains the views, the files and the keys.

Examples:
  $ tinymoe trace models/moe --prompt "Once upon a time"
  $ tinymoe trace models/moe --prompt "Once upon a time" --step
  $ tinymoe trace models/moe --prompt "Once upon a time" --layer 1 --token 2
  $ tinymoe trace moe-facts --prompt "Macas harvests" --answer " limes"
  $ tinymoe trace models/moe --tokens 1,5,34 --max-tokens 20 --html trace.html --out trace.json
  $ tinymoe trace models/moe --prompt "Once upon a time" --max-tokens 60 --analyse --batch 8
  $ tinymoe trace models/moe --tokens 1,5,34 --top-k 1 --disable 3,1:7 --bias 2=0.5 --csv > trace.csv
`

const RUN = flags({
  prompt: ['<text>', 'text to run; - reads it from stdin, without its last line break'],
  tokens: ['<ids>', 'token ids to run, such as 1,2,3', read.tokenIds],
  maxTokens: ['<n>', 'tokens to generate after that, the most likely ones', FROM_NONE, 0],
  dispatch: DISPATCH,
  expertsOnDisk: EXPERTS_ON_DISK,
})
const VIEWS = flags({
  layer: ['<n>', 'with --token: one decision in full', read.wholeNumber(0, MAX_LAYERS)],
  token: ['<n>', 'position of that token', FROM_NONE],
  answer: ['<text>', 'after --prompt: how likely it is without each expert, which says where it is held'],
  step: ['', 'walk through the decisions with the keyboard; from --layer and --token, if given'],
  analyse: ['', 'what capacity limits, expert caches and another K would do; weights read'],
  batch: [
    '<n>',
    'with --analyse: capacity also for batches of so many tokens',
    read.wholeNumber(1, read.MAX_TOKENS),
  ],
  width: ['<columns>', 'default: those of the terminal', read.wholeNumber(20, 10_000)],
})
const FILES = flags({
  csv: ['[file]', 'one line per layer, token and expert; without a file on stdout'],
  out: ['<file>', 'JSON, as --json prints it; --replay reads it'],
  html: ['<file>', 'one page that needs nothing else'],
  svg: ['<file>', 'the picture of that page alone'],
})
type Flags = Given<typeof RUN & typeof VIEWS & typeof FILES> & InterventionFlags & GlobalOptions

export function register(program: Command): void {
  const command = addFlags(program.command('trace'), RUN)
    .description('Runs a text or token ids and shows what the router of every layer decided.')
    .argument(...MODEL_ARGUMENT)
  addFlags(command.optionsGroup('Views:'), VIEWS)
  addFlags(command.optionsGroup('Files:'), FILES)
  addInterventionOptions(command)
    .addHelpText('after', EXAMPLES)
    .action((dir: string, _: unknown, self: Command) => runTrace(dir, allOptions<Flags>(self)))
}

async function runTrace(dir: string, flags: Flags): Promise<void> {
  checkFlags(flags)
  checkOutputs(
    { flag: '--csv', path: flags.csv === true ? undefined : flags.csv },
    { flag: '--out', path: flags.out },
    { flag: '--html', path: flags.html },
    { flag: '--svg', path: flags.svg },
  )
  const interventions = interventionsOf(flags)
  const { config } = readConfig(dir)
  if (mixturesOf(config.layers).length === 0) {
    throw new InputError(`${dir}: every layer is dense, so there is no router to trace`)
  }
  await withModel(dir, flags, async (model) => {
    const tokens = flags.tokens ?? (await promptTokens(flags.prompt as string, model))
    const { maxTokens, dispatch } = flags
    checkRunSize(`--max-tokens ${maxTokens}`, model, { sequences: 1, tokens: tokens.length + maxTokens })
    if (interventions) checkInterventions(interventions, config, tokens.length + Math.max(0, maxTokens - 1))
    if (flags.answer !== undefined) {
      const { result, text } = await answerCommand(model, flags.prompt as string, flags.answer, interventions)
      return writeAll([flags.json ? `${JSON.stringify(result)}\n` : text])
    }
    const run = await traceRun(model, { tokens, maxTokens, dispatch, interventions }).catch((error) => {
      throw namedAfterFlag(error)
    })
    const texts = model.tokenizer ? await tokenTexts(run.trace.rows, model.tokenizer) : null
    const decisions = new Decisions(model, run.trace)
    const traced = { ...run, model, texts, decisions, changes: changesText(flags) }
    const failure = writeFiles(traced, flags)
    if (flags.analyse) await showAnalysis(traced, flags, interventions)
    else await show(traced, flags)
    if (failure) throw failure
  })
}

function checkFlags(flags: Flags): void {
  if ((flags.prompt === undefined) === (flags.tokens === undefined)) {
    throw new UsageError('trace takes either --prompt or --tokens')
  }
  checkAnswerFlags(flags)
  if (flags.step) checkTerminal(flags)
  else if ((flags.layer === undefined) !== (flags.token === undefined)) {
    throw new UsageError('--layer and --token name one decision together; --step takes either')
  }
  if (flags.csv === true && (flags.json || flags.step || flags.analyse || flags.layer !== undefined)) {
    throw new UsageError(
      '--csv without a file has stdout to itself: leave out --json, --step, --layer, --analyse',
    )
  }
  if (flags.analyse && (flags.step || flags.layer !== undefined)) {
    throw new UsageError('--analyse is about the whole run: leave out --step, --layer and --token')
  }
  if (flags.batch !== undefined && !flags.analyse) throw new UsageError('--batch belongs to --analyse')
}

function checkAnswerFlags({ answer, prompt, ...flags }: Flags): void {
  if (answer === undefined) return
  if (prompt === undefined || prompt === '-')
    throw new UsageError('--answer follows a --prompt that is given with it')
  const others = ['step', 'analyse', 'layer', 'csv', 'out', 'html', 'svg'] as const
  const other = others.find((name) => flags[name] !== undefined)
  if (other ?? flags.maxTokens > 0)
    throw new UsageError(`--answer is a view of its own: leave out --${other ?? 'max-tokens'}`)
}

async function promptTokens(prompt: string, { tokenizer, dir }: LoadedModel): Promise<number[]> {
  if (!tokenizer) throw new InputError(`${dir}: has no tokenizer.json to read --prompt with, give --tokens`)
  const text = prompt === '-' ? await textFromStdin('--prompt') : prompt
  const tokens = await tokenizer.encode(text)
  if (tokens.length === 0) throw new UsageError(`--prompt ${shown(text)}: has no tokens, expected some text`)
  return tokens
}

/** Returns the first failure, for after the views. */
function writeFiles(traced: Traced, { csv, out, html, svg }: Flags): InputError | null {
  const { trace, texts, model, decisions, changes } = traced
  const page = () => {
    const name = basename(resolve(model.dir))
    const decisionAt = (layer: number, t: number) => decisions.at(layer, t)
    return tracePage(trace, { texts, name, changes, assets: readPageAssets(), decisionAt })
  }
  const files: [flag: string, file: string | undefined, content: () => string][] = [
    ['--csv', csv === true ? undefined : csv, () => [...traceToCsv(trace, texts)].join('')],
    ['--out', out, () => `${traceToJson(trace, texts)}\n`],
    ['--html', html, page],
    ['--svg', svg, () => `${tracePicture(trace, texts, changes)}\n`],
  ]
  const failures = files.map(([flag, file, content]) =>
    file === undefined ? null : writeOutput(flag, file, content()),
  )
  return failures.find((failure) => failure !== null) ?? null
}

async function show(traced: Traced, flags: Flags): Promise<void> {
  const { trace, texts, changes, model } = traced
  const options = {
    width: flags.width ?? process.stdout.columns ?? DEFAULT_WIDTH,
    depth: colourDepth(process.stdout),
  }
  if (flags.step) return walk(traced, placeOf(traced, flags))
  if (flags.layer !== undefined) {
    const { layer, token } = placeOf(traced, flags)
    const decision = traced.decisions.at(layer, token)
    const text = texts?.[token] ?? null
    if (flags.json) return writeAll([decisionToJson(decision, text), '\n'])
    return writeAll(decisionLines(decision, text, options).map((line) => `${line}\n`))
  }
  if (flags.json) return writeAll([traceToJson(trace, texts), '\n'])
  if (flags.csv === true) return writeAll(traceToCsv(trace, texts))
  await writeAll(heatMap(trace, { texts, changes, ...options }).map((line) => `${line}\n`))
  const ran = parametersLines(model.config, trace, texts, { ...options, dense: flags.dispatch === 'dense' })
  await writeAll(['\n', ...ran.map((line) => `${line}\n`), '\n', summary(traced)])
}

async function showAnalysis(
  { model, trace }: Traced,
  { batch, json }: Flags,
  interventions?: Interventions,
): Promise<void> {
  const { result, text } = await analyseCommand(model, trace, { batch, interventions })
  await writeAll([json ? `${JSON.stringify(result)}\n` : text])
}

/** Indices in the trace of --layer and --token; the first ones where not given. */
function placeOf({ trace }: Traced, flags: Flags): { layer: number; token: number } {
  const layers = trace.layers.map(({ layer }) => layer)
  const layer = flags.layer === undefined ? 0 : layers.indexOf(flags.layer)
  const token = flags.token ?? 0
  if (layer < 0) {
    throw new UsageError(`--layer ${flags.layer}: expected a layer with a router (${layers.join(', ')})`)
  }
  if (token >= trace.rows.length) {
    throw new UsageError(`--token ${token}: expected one of the ${trace.rows.length} tokens from 0`)
  }
  return { layer, token }
}

/** The statistics of each layer as a table. */
function summary({ trace: { rows, layers } }: TraceRun): string {
  const columns = statisticsOf(layers)
  const lines = layers.map((layer) => {
    const statistics = layerStatistics(layer, rows)
    return [String(layer.layer), ...columns.map(([, , , text]) => text(statistics))]
  })
  return table([['layer', ...columns.map(([short]) => short)], ...lines])
}
