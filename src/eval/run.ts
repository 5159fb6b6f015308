import { loadavg, platform } from 'node:os'
import { basename, dirname, resolve } from 'node:path'
import { checkFactsSize, type FactsSize } from '../corpus/facts/world.ts'
import { ALL_DOMAINS, DOMAINS, type Domain } from '../corpus/index.ts'
import { countParameters, flopsPerToken, totalFlops, weightBytesPerToken } from '../cost/index.ts'
import { InputError } from '../errors.ts'
import type { LoadedModel } from '../load-model.ts'
import { type ModelConfig, mixturesOf } from '../model/config.ts'
import { MoeModel } from '../model/transformer.ts'
import { byDomainAndForm, headlineOf, type Quiz, quizzesOf, runQuizzes } from './answers.ts'
import { documentsOf, TextCodec } from './documents.ts'
import type { EvalSplit } from './domains.ts'
import { expertsReport } from './experts.ts'
import { factExperts } from './fact-experts.ts'
import { factsReport } from './facts.ts'
import { documentLosses, lossReport, type Watch } from './loss.ts'
import { measureSpeed, speedTokens } from './speed.ts'

export interface EvalOptions {
  split?: EvalSplit
  /** Documents of each domain for the loss, and questions of each form at most. */
  samples?: number
  /** Of the documents: one seed, the same documents. */
  seed?: number
  domains?: Domain[]
  /** How many facts the model was trained on: they become a domain, and what it recalls of all of them is measured. */
  facts?: FactsSize | null
  /** Also what the experts specialise in. */
  experts?: boolean
}

/** What is left out means this; about a minute on two cores. */
export const EVAL_DEFAULTS = { split: 'heldout', samples: 100, seed: 1 } as const

export interface EvalHooks {
  /** Aborting ends the evaluation between two calls of the model: it rejects with the signal's reason. */
  signal?: AbortSignal
  /** The share of the whole that is done, and what is being done. */
  onProgress?(share: number, what: string): void
}

/** Keys in sight of the token whose FLOPs are counted; docs/training.md compares the presets there. */
const FLOP_CONTEXT = 128
/** Expected shares of the time. */
const STAGES = { losses: 2, answers: 5, speed: 2, facts: 5, experts: 10, 'experts of facts': 100 }

/** What `tinymoe eval --json` prints. Unknown is null. Losses are in nats a token of the model's own tokenizer. */
export type EvalReport = Awaited<ReturnType<typeof evaluate>>
export type EvalModel = ReturnType<typeof modelOf>
export type CostReport = ReturnType<typeof costOf>
export type EvalConditions = ReturnType<typeof conditionsOf>

/**
 * Quality, cost and speed of a model on this project's corpus.
 * @throws InputError for options out of range, a model without a usable tokenizer, or one without routers when `experts`
 * are asked for
 */
export async function evaluate(model: LoadedModel, options: EvalOptions = {}, hooks: EvalHooks = {}) {
  const { config, dir } = model
  const { split, samples, seed, domains, facts, experts } = checkedOptions(options, model)
  const codec = new TextCodec(dir, config, model.tokenizer)
  const draw = { split, seed, facts }
  const eager = new MoeModel(config, model.weights, model.dispatch) // see `EvalConditions.executor`
  const stage = stages(options, hooks)
  const conditions = conditionsOf(model)
  const started = performance.now()

  const documents = await documentsOf(codec, domains, draw, samples)
  const losses = await documentLosses(eager, documents, stage('losses'))
  const quizzes = await quizzesOf(
    codec,
    config,
    domains.filter((domain) => domain !== 'facts'), // all of them are asked, in their own way
    draw,
    samples,
  )
  const results = await runQuizzes(eager, codec, quizzes, stage('answers'))
  const text = await speedTokens(codec, domains[0], draw, config.maxPositionEmbeddings)
  const speed = await measureSpeed(model, text, stage('speed'))
  const exactMatch = byDomainAndForm(results, 'answer')
  const cost = costOf(config)
  return {
    format: 'tinymoe-eval' as const,
    version: 1 as const,
    date: new Date().toISOString(),
    model: modelOf(dir, config),
    split,
    /** Documents of each domain for the loss; questions of each form at most. */
    samples,
    seed,
    domains,
    loss: lossReport(documents, losses),
    /** By domain and form, where the domain has answers. */
    exactMatch,
    /** By domain and form: texts written by the model in which `verifyText` finds nothing wrong. */
    wellFormed: byDomainAndForm(results, 'text'),
    /** Sums of two numbers of two digits, whose pair is in no training text; null without the domain. */
    headline: headlineOf(exactMatch),
    cost,
    speed,
    /** Null unless their number was given. */
    facts: facts && (await factsReport(eager, codec, facts, split, cost.parameters, stage('facts'))),
    /** Null unless asked for. */
    experts: experts ? await expertsReport(eager, codec, domains, draw, samples, stage('experts')) : null,
    /** What is forgotten without each expert; null unless experts and facts are asked for. */
    factExperts:
      experts && facts ? await factExperts(eager, codec, facts, split, stage('experts of facts')) : null,
    conditions,
    /** What this model could not be asked, a sentence each. */
    notes: [...codec.notes(), ...tooLong(documents, quizzes, config)],
    seconds: (performance.now() - started) / 1000,
  }
}

function checkedOptions(options: EvalOptions, { config, dir }: LoadedModel) {
  const { split = EVAL_DEFAULTS.split, samples = EVAL_DEFAULTS.samples, seed = EVAL_DEFAULTS.seed } = options
  const { experts = false, facts = null } = options
  if (facts) checkFactsSize(facts)
  const known: readonly Domain[] = facts ? ALL_DOMAINS : DOMAINS
  const { domains = known } = options
  if (!Number.isSafeInteger(samples) || samples < 1) {
    throw new InputError(`samples: is ${samples}, expected a whole number from 1`)
  }
  const unknown = domains.find((domain) => !known.includes(domain))
  if (unknown !== undefined || domains.length === 0) {
    throw new InputError(`domains: are [${domains}], expected some of ${known.join(', ')}`)
  }
  if (experts && mixturesOf(config.layers).length === 0) {
    throw new InputError(`${dir}: every layer is dense, so there are no experts to look at`)
  }
  return { split, samples, seed, experts, facts, domains: known.filter((domain) => domains.includes(domain)) }
}

type Stage = keyof typeof STAGES

/** Watches for the parts of the work, each reporting its share of the whole. */
function stages({ experts, facts }: EvalOptions, { signal, onProgress }: EvalHooks) {
  const wanted: Partial<Record<Stage, unknown>> = { experts, facts, 'experts of facts': experts && facts }
  const names = (Object.keys(STAGES) as Stage[]).filter((name) => !(name in wanted) || wanted[name])
  const sum = (list: Stage[]) => list.reduce((total, name) => total + STAGES[name], 0)
  return (name: Stage): Watch => {
    const before = sum(names.slice(0, names.indexOf(name)))
    return {
      signal,
      onShare: (share) => onProgress?.((before + share * STAGES[name]) / sum(names), name),
    }
  }
}

function modelOf(dir: string, config: ModelConfig) {
  const last = basename(resolve(dir))
  const inTraining = last === 'checkpoint' || last === 'model'
  return {
    /** Last part of the directory's path; of `checkpoint` and `model`, which training writes, the last two. */
    name: inTraining ? `${basename(dirname(resolve(dir)))}/${last}` : last,
    family: config.family,
    layers: config.layers.length,
    vocabSize: config.vocabSize,
    /** Per layer E and K; null for a layer without a router. */
    mixtures: config.layers.map(({ feedForward }) =>
      feedForward.kind === 'moe'
        ? { numExperts: feedForward.router.numExperts, topK: feedForward.router.topK }
        : null,
    ),
  }
}

function costOf(config: ModelConfig) {
  const { parts: _, ...parameters } = countParameters(config)
  const flopContext = Math.min(FLOP_CONTEXT, config.maxPositionEmbeddings)
  const flopParts = flopsPerToken(config, flopContext, 'sparse')
  return {
    parameters,
    /** Matrix FLOPs of a token that meets `flopContext` keys and gets logits, only the chosen experts run. */
    flopsPerToken: totalFlops(flopParts),
    flopContext,
    flopParts,
    /** Weights read for one token alone, as the engine holds them. */
    weightBytesPerToken: weightBytesPerToken(config),
  }
}

function conditionsOf({ runtime, executor, dtype }: LoadedModel) {
  return {
    runtime,
    /** Of `speed`, as the executor: quality is computed in float32. */
    dtype,
    /** Of `speed`. Quality is computed op by op: both give the same, and every shape of batch would need a graph. */
    executor,
    /** Busy threads on average in the minute before; null where the system does not tell (Node gives 0 there). */
    loadAverage: platform() === 'win32' ? null : Number(loadavg()[0].toFixed(2)),
  }
}

function tooLong(
  documents: readonly { cut: boolean }[],
  quizzes: readonly Quiz[],
  { maxPositionEmbeddings }: ModelConfig,
): string[] {
  const cut = documents.filter((document) => document.cut).length
  const leftOut = quizzes.reduce((sum, quiz) => sum + quiz.leftOut, 0)
  const why = `the model has ${maxPositionEmbeddings} positions`
  return [
    ...(cut > 0 ? [`${cut} of ${documents.length} documents were cut: ${why}`] : []),
    ...(leftOut > 0 ? [`${leftOut} questions were left out: ${why}`] : []),
  ]
}
