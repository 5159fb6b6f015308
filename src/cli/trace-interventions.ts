import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { InputError, messageOf, UsageError } from '../errors.ts'
import type { ModelConfig } from '../model/config.ts'
import { interventionsByLayer } from '../model/router/interventions.ts'
import { CAPACITY_POLICIES, type CapacityPolicy, type Interventions } from '../model/router/types.ts'
import { positive, repeated, seed, wholeNumber } from '../script/arguments.ts'
import { numberOf } from '../text/number.ts'
import { traceFromJson } from '../trace/json.ts'

/** The flags that change routing. */
export interface InterventionFlags {
  topK?: number
  disable?: NonNullable<Interventions['disable']>[]
  force?: NonNullable<Interventions['force']>
  bias?: NonNullable<Interventions['bias']>
  routerTemperature?: number
  route?: 'random' | 'round-robin'
  seed?: number
  capacity?: number
  capacityPolicy?: CapacityPolicy
  replay?: string
}

/** A layer has no more experts, and a limit or temperature beyond this is none. */
const MAX_EXPERTS = 1e6
const MAX_FACTOR = 1e6

export function addInterventionOptions(command: Command): Command {
  return command
    .optionsGroup('Changes to routing (E expert, L layer; without L every layer):')
    .option('--top-k <k>', 'experts a token, 1 to all', wholeNumber(1, MAX_EXPERTS))
    .option('--disable <experts>', 'E or L:E, comma-separated: may not be chosen', repeated(parseDisable))
    .option('--force <choice>', 'P=E,E or L:P=E,E: sends the token at position P there', repeated(parseForce))
    .option('--bias <value>', 'E=V or L:E=V: added when experts are compared', repeated(parseBias))
    .option(
      '--router-temperature <x>',
      'divides the router logits; above 1 evens the scores',
      positive(MAX_FACTOR),
    )
    .addOption(
      new Option('--route <how>', 'throws the decision away and routes so')
        .choices(['random', 'round-robin'])
        .conflicts('replay'),
    )
    .option('--seed <n>', 'of --route random', seed)
    .option(
      '--capacity <factor>',
      'at most ceil(factor T K / E) tokens an expert and call',
      positive(MAX_FACTOR, 'a factor'),
    )
    .addOption(
      new Option('--capacity-policy <name>', 'what is over is lost, moved or left; default: drop').choices(
        CAPACITY_POLICIES,
      ),
    )
    .option('--replay <file>', 'routes as this trace (JSON) recorded')
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
    interventions.topK ??= commonTopK(trace.layers) // a trace of another K is replayed with its own
  }
  return Object.values(interventions).some((value) => value !== undefined) ? interventions : undefined
}

/** The flags that change routing, as they could be typed: what tells the pages of an experiment apart. Null without any. */
export function changesText(flags: InterventionFlags): string | null {
  const at = ({ layer }: { layer?: number }) => (layer === undefined ? '' : `${layer}:`)
  const given: [flag: string, value: string | number | undefined][] = [
    ['--top-k', flags.topK],
    [
      '--disable',
      flags.disable
        ?.flat()
        .map((one) => `${at(one)}${one.expert}`)
        .join(),
    ],
    ...(flags.force ?? []).map((one): [string, string] => [
      '--force',
      `${at(one)}${one.position}=${one.experts}`,
    ]),
    ...(flags.bias ?? []).map((one): [string, string] => ['--bias', `${at(one)}${one.expert}=${one.value}`]),
    ['--router-temperature', flags.routerTemperature],
    ['--route', flags.route],
    ['--seed', flags.route === 'random' ? (flags.seed ?? 0) : undefined],
    ['--capacity', flags.capacity],
    ['--capacity-policy', flags.capacityPolicy],
    ['--replay', flags.replay],
  ]
  const words = given.flatMap(([flag, value]) => (value === undefined ? [] : `${flag} ${value}`))
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

const FLAGS: Record<string, string> = {
  topK: '--top-k',
  disable: '--disable',
  force: '--force',
  bias: '--bias',
  temperature: '--router-temperature',
  replay: '--replay',
}

/** An error about an intervention as one about its flag. */
export function namedAfterFlag(error: unknown): unknown {
  if (!(error instanceof InputError)) return error
  const [, name] = /^(\w+): /.exec(error.message) ?? []
  return name in FLAGS ? new UsageError(error.message.replace(name, FLAGS[name])) : error
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

function commonTopK(layers: { topK: number }[]): number | undefined {
  return layers.every(({ topK }) => topK === layers[0].topK) ? layers[0].topK : undefined
}

function parseDisable(text: string): NonNullable<Interventions['disable']> {
  return text.split(',').map((item) => {
    const match = /^(?:(\d+):)?(\d+)$/.exec(item)
    if (!match) throw new InvalidArgumentError('Expected experts such as 3,7 or, in layer 1 only, 1:3.')
    return { ...layerOf(match[1]), expert: Number(match[2]) }
  })
}

function parseForce(text: string): NonNullable<Interventions['force']>[0] {
  const match = /^(?:(\d+):)?(\d+)=(\d+(?:,\d+)*)$/.exec(text)
  if (!match) {
    throw new InvalidArgumentError('Expected position=experts such as 0=3,7 or, in layer 1 only, 1:0=3,7.')
  }
  return {
    ...layerOf(match[1]),
    position: Number(match[2]),
    experts: match[3].split(',').map(Number),
  }
}

function parseBias(text: string): NonNullable<Interventions['bias']>[0] {
  const match = /^(?:(\d+):)?(\d+)=(.+)$/.exec(text)
  const value = numberOf(match?.[3] ?? '')
  if (!match || value === null) {
    throw new InvalidArgumentError('Expected expert=value such as 3=0.5 or, in layer 1 only, 1:3=-0.5.')
  }
  return { ...layerOf(match[1]), expert: Number(match[2]), value }
}

function layerOf(text: string | undefined): { layer?: number } {
  return text === undefined ? {} : { layer: Number(text) }
}
