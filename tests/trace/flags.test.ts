import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  addInterventionOptions,
  changesText,
  checkInterventions,
  type InterventionFlags,
  interventionsOf,
  namedAfterFlag,
} from '../../src/cli/trace-interventions.ts'
import { InputError, UsageError } from '../../src/errors.ts'
import { readConfig } from '../../src/load-model.ts'
import type { Interventions } from '../../src/model/router/types.ts'
import { traceToJson } from '../../src/trace/json.ts'
import { MIXTRAL } from '../cli/run-cli.ts'
import { smallTrace } from './traces.ts'

function parse(...args: string[]): Interventions | undefined {
  const command = addInterventionOptions(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
  return interventionsOf(command.parse(args, { from: 'user' }).opts())
}

/** Given fields only: a flag that is not given must change nothing. */
function given(interventions: Interventions | undefined) {
  return Object.fromEntries(Object.entries(interventions ?? {}).filter(([, value]) => value !== undefined))
}

let dir: string
let recorded: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-flags-'))
  recorded = join(dir, 'trace.json')
  writeFileSync(recorded, traceToJson(smallTrace()))
})
afterAll(() => rmSync(dir, { recursive: true }))

describe('each flag is its intervention', () => {
  test.each<[string[], Interventions]>([
    [['--top-k', '3'], { topK: 3 }],
    [['--disable', '3,7'], { disable: [{ expert: 3 }, { expert: 7 }] }],
    [
      ['--disable', '1:3', '--disable', '0,2:5'],
      { disable: [{ layer: 1, expert: 3 }, { expert: 0 }, { layer: 2, expert: 5 }] },
    ],
    [['--force', '4=2,6'], { force: [{ position: 4, experts: [2, 6] }] }],
    [
      ['--force', '1:4=2', '--force', '0=1'],
      {
        force: [
          { layer: 1, position: 4, experts: [2] },
          { position: 0, experts: [1] },
        ],
      },
    ],
    [['--bias', '3=0.5'], { bias: [{ expert: 3, value: 0.5 }] }],
    [
      ['--bias', '1:3=-.5', '--bias', '0=+2'],
      {
        bias: [
          { layer: 1, expert: 3, value: -0.5 },
          { expert: 0, value: 2 },
        ],
      },
    ],
    [['--router-temperature', '1.5'], { temperature: 1.5 }],
    [['--route', 'random'], { replace: { by: 'random', seed: 0 } }],
    [['--route', 'random', '--seed', '7'], { replace: { by: 'random', seed: 7 } }],
    [['--route', 'round-robin'], { replace: { by: 'round-robin' } }],
    [['--capacity', '1.25'], { capacity: { factor: 1.25, policy: 'drop' } }],
    [['--capacity', '1', '--capacity-policy', 'next-best'], { capacity: { factor: 1, policy: 'next-best' } }],
  ])('%j', (args, interventions) => {
    expect(given(parse(...args))).toEqual(interventions)
  })

  test('--replay reads a trace and takes its K, unless --top-k says another', () => {
    const replace = { by: 'trace', trace: smallTrace() }
    expect(given(parse('--replay', recorded))).toEqual({ replace, topK: 2 })
    expect(given(parse('--replay', recorded, '--top-k', '1'))).toEqual({ replace, topK: 1 })
  })

  test('none at all is no intervention', () => {
    expect(parse()).toBeUndefined()
  })
})

describe('a bad value is a sentence with flag, value and what was expected', () => {
  test.each([
    [
      ['--top-k', '0'],
      "option '--top-k <k>' argument '0' is invalid. Expected a whole number from 1 to 1000000.",
    ],
    [['--disable', '3,'], "argument '3,' is invalid. Expected experts such as 3,7 or, in layer 1 only, 1:3."],
    [['--disable', 'x:3'], "argument 'x:3' is invalid."],
    [['--disable', '3', '--disable', '-1'], "argument '-1' is invalid."],
    [['--force', '3'], "argument '3' is invalid. Expected position=experts such as 0=3,7"],
    [['--force', '3='], "argument '3=' is invalid."],
    [['--bias', '3'], "argument '3' is invalid. Expected expert=value such as 3=0.5"],
    [['--bias', '3=1e999'], "argument '3=1e999' is invalid."],
    [['--router-temperature', '0'], "argument '0' is invalid. Expected a number above 0 and up to 1000000."],
    [['--capacity', '-1'], "argument '-1' is invalid. Expected a factor above 0 and up to 1000000."],
    [['--capacity-policy', 'lose', '--capacity', '1'], 'Allowed choices are drop, next-best, none.'],
    [['--route', 'best'], 'Allowed choices are random, round-robin.'],
    [['--route', 'random', '--replay', 'x'], "'--route <how>' cannot be used with option '--replay <file>'"],
    [['--seed', '1'], '--seed 1: only with --route random'],
    [['--seed', '1', '--route', 'round-robin'], '--seed 1: only with --route random'],
    [['--capacity-policy', 'drop'], '--capacity-policy drop: only with --capacity'],
    [['--force', '0=1', '--route', 'random'], '--force and --route exclude each other'],
    [['--replay', '/no/such.json'], '--replay /no/such.json: cannot be read (ENOENT'],
  ])('%j', (args, message) => {
    expect(() => parse(...args)).toThrow(message)
  })

  test('--replay of something else', () => {
    const file = join(dir, 'other.json')
    writeFileSync(file, '{"format": "other"}')
    expect(() => parse('--replay', file)).toThrow(
      new UsageError(`--replay ${file}: format: invalid input: expected "tinymoe-trace"`),
    )
  })
})

describe('a value that the model cannot follow names its flag', () => {
  const { config } = readConfig(MIXTRAL) // three layers, E = 8, K = 2

  test.each<[Interventions, string]>([
    [{ topK: 9 }, '--top-k: 9 in layer 0, expected a whole number from 1 to 8'],
    [{ disable: [{ expert: 8 }] }, '--disable: 8 in layer 0, expected a whole number from 0 to 7'],
    [
      { disable: [0, 1, 2, 3, 4, 5, 6].map((expert) => ({ expert })) },
      '--disable: leaves 1 of 8 experts in layer 0, expected at least topK=2',
    ],
    [{ disable: [{ layer: 3, expert: 0 }] }, '--disable: layer 3, expected a layer with a router (0, 1, 2)'],
    [{ bias: [{ expert: 9, value: 1 }] }, '--bias: 9 in layer 0, expected a whole number from 0 to 7'],
    [
      { bias: [{ layer: 7, expert: 0, value: 1 }] },
      '--bias: layer 7, expected a layer with a router (0, 1, 2)',
    ],
    [
      { force: [{ position: 0, experts: [1, 2, 3] }] },
      '--force: token 0 to experts [1,2,3], expected 1 to 2 different ones',
    ],
    [{ force: [{ position: 5, experts: [1] }] }, '--force: position 5, expected one of the 5 tokens from 0'],
  ])('%j', (interventions, message) => {
    expect(() => checkInterventions(interventions, config, 5)).toThrow(new UsageError(message))
  })

  test('an error of the run about the replayed trace names --replay; others stay what they are', () => {
    const missing = new InputError('replay: the trace has no layer 2')
    expect(namedAfterFlag(missing)).toEqual(new UsageError('--replay: the trace has no layer 2'))
    for (const other of [new InputError('tokens: are empty'), new Error('topK: 9')]) {
      expect(namedAfterFlag(other)).toBe(other)
    }
  })

  test('what it can follow passes', () => {
    const interventions: Interventions = {
      topK: 8,
      bias: [{ layer: 2, expert: 7, value: -1 }],
      force: [{ position: 4, experts: [0] }],
    }
    expect(() => checkInterventions(interventions, config, 5)).not.toThrow()
  })
})

describe('what was changed, in words', () => {
  test.each<[InterventionFlags, string | null]>([
    [{}, null],
    [{ topK: 1 }, '--top-k 1'],
    [{ disable: [[{ expert: 3 }, { expert: 7, layer: 1 }], [{ expert: 0 }]] }, '--disable 3,1:7,0'],
    [
      {
        force: [
          { position: 4, experts: [2, 6] },
          { position: 0, experts: [1], layer: 2 },
        ],
      },
      '--force 4=2,6 --force 2:0=1',
    ],
    [{ bias: [{ expert: 3, value: -0.5 }], routerTemperature: 2 }, '--bias 3=-0.5 --router-temperature 2'],
    [{ route: 'random' }, '--route random --seed 0'],
    [{ route: 'round-robin' }, '--route round-robin'],
    [{ capacity: 1.25, capacityPolicy: 'next-best' }, '--capacity 1.25 --capacity-policy next-best'],
    [{ replay: 'a.json' }, '--replay a.json'],
  ])('%j', (flags, text) => {
    expect(changesText(flags)).toBe(text)
  })
})
