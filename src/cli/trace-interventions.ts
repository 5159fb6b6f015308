import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError, type Option } from 'commander'
import { InputError, messageOf, UsageError } from '../errors.ts'
import type { ModelConfig } from '../model/config.ts'
import { interventionsByLayer } from '../model/router/interventions.ts'
import { CAPACITY_POLICIES, type Interventions } from '../model/router/types.ts'
import * as read from '../script/arguments.ts'
import { addFlags, flagOf, flags, type Given } from '../script/flags.ts'
import { numberOf } from '../text/number.ts'
import { traceFromJson } from '../trace/json.ts'

/** A layer has no more experts, and a limit or temperature beyond this is none. */
const MAX_EXPERTS = 1e6
const MAX_FACTOR = 1e6

/** What changes routing. */
const CHANGES = flags({
  topK: ['<k>', 'experts a token, 1 to all', read.wholeNumber(1, MAX_EXPERTS)],
  disable: ['<experts>', 'E or L:E, comma-separated: may not be chosen', read.repeated(parseDisable)],
  force: ['<choice>', 'P=E,E or L:P=E,E: sends the token at position P there', read.repeated(parseForce)],
  bias: ['<value>', 'E=V or L:E=V: added when experts are compared', read.repeated(parseBias)],
  routerTemperature: [
    '<x>',
    'divides the router logits; above 1 evens the scores',
    read.positive(MAX_FACTOR),
  ],
  route: [
    '<how>',
    'throws the decision away and routes so',
    ['random', 'round-robin'],
    undefined,
    (option: Option) => option.conflicts('replay'),
  ],
  seed: ['<n>', 'of --route random', read.seed],
  capacity: [
    '<factor>',
    'at most ceil(factor T K / E) tokens an expert and call',
    read.positive(MAX_FACTOR, 'a factor'),
  ],
  capacityPolicy: ['<name>', 'what is over is lost, moved or left; default: drop', CAPACITY_POLICIES],
  replay: ['<file>', 'routes as this trace (JSON) recorded'],
})
export type InterventionFlags = Given<typeof CHANGES>

export function addInterventionOptions(command: Command): Command {
  command.optionsGroup('Changes to routing (E expert, L layer; without L every layer):')
  return addFlags(command, CHANGES)
}

/** The flags as interventions; undefined where none was given. */
export function interventionsOf(flags: InterventionFlags): Interventions | undefined {
  needs('--seed', flags.seed, '--route random', flags.route === 'random')
  needs('--capacity-policy', flags.capacityPolicy, '--capacity', flags.capacity !== undefined)
  if (flags.force && (flags.route || flags.replay)) {
    throw new UsageError(`--force and ${flags.route ? '--route' : '--replay'} exclude each other`)
  }
  const { route, seed, capacity, capacityPolicy, replay } = flags
  const interventions: Interventions = {
    topK: flags.topK,
    disable: flags.disable?.flat(),
    force: flags.force,
    bias: flags.bias,
    temperature: flags.routerTemperature,
    capacity: capacity === undefined ? undefined : { factor: capacity, policy: capacityPolicy ?? 'drop' },
  }
  if (route) interventions.replace = route === 'random' ? { by: route, seed: seed ?? 0 } : { by: route }
  if (replay !== undefined) {
    const trace = readTrace(replay)
    interventions.replace = { by: 'trace', trace }
    const [K, ...others] = new Set(trace.layers.map(({ topK }) => topK))
    if (others.length === 0) interventions.topK ??= K // a trace of another K is replayed with its own
  }
  return Object.values(interventions).some((value) => value !== undefined) ? interventions : undefined
}

/** The flags that change routing, as they could be typed: what tells the pages of an experiment apart. Null without any. */
export function changesText(flags: InterventionFlags): string | null {
  const at = ({ layer }: { layer?: number }) => (layer === undefined ? '' : `${layer}:`)
  const given: Record<string, string | number | string[] | undefined> = {
    topK: flags.topK,
    disable: flags.disable
      ?.flat()
      .map((one) => `${at(one)}${one.expert}`)
      .join(),
    force: flags.force?.map((one) => `${at(one)}${one.position}=${one.experts}`),
    bias: flags.bias?.map((one) => `${at(one)}${one.expert}=${one.value}`),
    routerTemperature: flags.routerTemperature,
    route: flags.route,
    seed: flags.route === 'random' ? (flags.seed ?? 0) : undefined,
    capacity: flags.capacity,
    capacityPolicy: flags.capacityPolicy,
    replay: flags.replay,
  }
  const words = Object.entries(given).flatMap(([name, value]) =>
    [value ?? []].flat().map((one) => `${flagOf(name)} ${one}`),
  )
  return words.length > 0 ? words.join(' ') : null
}

/**
 * Compares interventions with the model, before anything runs: experts and layers that exist, a position that will be run.
 * @throws UsageError naming the flag, the value and what was expected
 */
export function checkInterventions(interventions: Interventions, config: ModelConfig, tokens: number): void {
  const late = interventions.force?.find(({ position }) => position >= tokens)
  if (late) {
    throw new UsageError(`--force: position ${late.position}, expected one of the ${tokens} tokens from 0`)
  }
  try {
    interventionsByLayer(interventions, config.layers)
  } catch (error) {
    throw namedAfterFlag(error)
  }
}

/** Interventions by their names in messages, where the flag has another one. */
const FLAGS: Record<string, string> = { temperature: 'routerTemperature' }

/** An error about an intervention as one about its flag. */
export function namedAfterFlag(error: unknown): unknown {
  if (!(error instanceof InputError)) return error
  const [, name] = /^(topK|disable|force|bias|temperature|replay): /.exec(error.message) ?? []
  return name ? new UsageError(error.message.replace(name, flagOf(FLAGS[name] ?? name))) : error
}

function needs(flag: string, value: unknown, other: string, given: boolean): void {
  if (value !== undefined && !given) throw new UsageError(`${flag} ${value}: only with ${other}`)
}

function readTrace(file: string) {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`--replay ${file}: cannot be read (${messageOf(error)})`)
  }
  try {
    return traceFromJson(text, file).trace
  } catch (error) {
    throw new UsageError(`--replay ${messageOf(error)}`)
  }
}

function parseDisable(text: string): NonNullable<Interventions['disable']> {
  return text.split(',').map((item) => {
    const { layer, match } = parsed(item, /^(\d+)$/, 'experts such as 3,7 or, in layer 1 only, 1:3')
    return { ...layer, expert: Number(match[1]) }
  })
}

function parseForce(text: string): NonNullable<Interventions['force']>[0] {
  const expected = 'position=experts such as 0=3,7 or, in layer 1 only, 1:0=3,7'
  const { layer, match } = parsed(text, /^(\d+)=(\d+(?:,\d+)*)$/, expected)
  return { ...layer, position: Number(match[1]), experts: match[2].split(',').map(Number) }
}

function parseBias(text: string): NonNullable<Interventions['bias']>[0] {
  const expected = 'expert=value such as 3=0.5 or, in layer 1 only, 1:3=-0.5'
  const { layer, match } = parsed(text, /^(\d+)=(.+)$/, expected)
  const value = numberOf(match[2])
  if (value === null) throw new InvalidArgumentError(`Expected ${expected}.`)
  return { ...layer, expert: Number(match[1]), value }
}

/** What `pattern` finds behind a layer and a colon, if there is one. */
function parsed(text: string, pattern: RegExp, expected: string) {
  const [, layer, rest] = /^(?:(\d+):)?(.*)$/s.exec(text) as string[]
  const match = pattern.exec(rest)
  if (!match) throw new InvalidArgumentError(`Expected ${expected}.`)
  return { layer: layer === undefined ? {} : { layer: Number(layer) }, match }
}
