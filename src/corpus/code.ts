import type { Random } from './random.ts'
import { drawIn } from './split.ts'
import type { Draft, Split } from './types.ts'

const NOUNS = [
  'apple',
  'box',
  'coin',
  'door',
  'egg',
  'flag',
  'game',
  'hat',
  'index',
  'jar',
  'key',
  'line',
  'map',
  'node',
  'order',
  'point',
  'queue',
  'row',
  'score',
  'task',
  'user',
  'value',
  'word',
  'year',
] as const

const LISTS = ['list', 'items', 'data', 'input', 'values', 'rows', 'all', 'batch'] as const

/** What a program is named after and works on; `limit` is a parameter beside the list. */
interface Signature {
  verb: string
  noun: string
  list: string
  limit: string
}

type Body = (s: Signature, random: Random) => string[]

/** Each verb has its body; lines carry their indentation. */
const BODIES: Readonly<Record<string, Body>> = {
  sum: ({ noun, list, limit }) => [
    'let total = 0',
    `for (const ${noun} of ${list}) {`,
    `  total = total + (${noun} * ${limit})`,
    '}',
    'return total',
  ],
  filter: ({ noun, list, limit }, random) => [
    'const kept = []',
    `for (const ${noun} of ${list}) {`,
    `  if (${noun} ${random.pick(['>', '<', '==', '!='])} ${limit}) {`,
    `    kept.push(${noun})`,
    '  }',
    '}',
    'return kept',
  ],
  count: ({ noun, list, limit }, random) => [
    'let count = 0',
    `for (const ${noun} of ${list}) {`,
    `  if (${noun} ${random.pick(['>', '<', '==', '!='])} ${limit}) {`,
    '    count = count + 1',
    '  }',
    '}',
    'return count',
  ],
  max: ({ noun, list, limit }) => [
    `let best = ${list}[0]`,
    `for (const ${noun} of ${list}) {`,
    `  if ((${noun} > best) && (${noun} < ${limit})) {`,
    `    best = ${noun}`,
    '  }',
    '}',
    'return best',
  ],
  wrap: ({ noun, list, limit }) => [
    'const result = []',
    `for (const ${noun} of ${list}) {`,
    `  result.push({ name: ${noun}, size: [${limit}, ${limit} + 1] })`,
    '}',
    'return result',
  ],
  scale: ({ noun, list, limit }, random) => [
    `const factor = ${expression(random, [limit], 2)}`,
    `return ${list}.map((${noun}) => (${noun} * factor))`,
  ],
  find: ({ noun, list, limit }) => [
    'let i = 0',
    `while (i < ${list}.length) {`,
    `  const ${noun} = ${list}[i]`,
    `  if (${noun} == ${limit}) {`,
    '    return i',
    '  }',
    '  i = i + 1',
    '}',
    'return -1',
  ],
  group: ({ noun, list, limit }) => [
    'const groups = { low: [], high: [] }',
    `for (const ${noun} of ${list}) {`,
    `  if (${noun} < ${limit}) {`,
    `    groups.low.push(${noun})`,
    '  } else {',
    `    groups.high.push(${noun})`,
    '  }',
    '}',
    'return groups',
  ],
  mix: ({ noun, list, limit }, random) => [
    `const ${noun} = ${list}[${random.int(0, 9)}]`,
    `const first = ${expression(random, [noun, limit], 3)}`,
    `const second = ${expression(random, [noun, limit, 'first'], 3)}`,
    `return [first, second]`,
  ],
  grid: ({ noun, list, limit }) => [
    'const grid = []',
    `for (let i = 0; i < ${limit}; i = i + 1) {`,
    '  const line = []',
    `  for (const ${noun} of ${list}) {`,
    `    line.push([i, ${noun}])`,
    '  }',
    '  grid.push(line)',
    '}',
    'return grid',
  ],
}
const VERBS = Object.keys(BODIES)

/** A small function with a call of it, or a row of opening brackets to be closed. */
export function code(random: Random, split: Split): Draft {
  return random.chance(0.4) ? brackets(random, split) : program(random, split)
}

function program(random: Random, split: Split): Draft {
  const signature = drawIn(random, split, drawSignature, programKey)
  const { list, limit } = signature
  const name = functionName(signature)
  const body = BODIES[signature.verb](signature, random).map((line) => `  ${line}`)
  const numbers = Array.from({ length: random.int(2, 5) }, () => random.int(0, 20))
  const call = `${name}([${numbers.join(', ')}], ${random.int(1, 9)})`
  const lines = [`function ${name}(${list}, ${limit}) {`, ...body, '}', `print(${call})`]
  return { form: 'program', text: lines.join('\n'), combinations: [programKey(signature)] }
}

function drawSignature(random: Random): Signature {
  return {
    verb: random.pick(VERBS),
    noun: random.pick(NOUNS),
    list: random.pick(LISTS),
    limit: random.pick(['limit', 'top', 'bound', 'size', 'n', 'k']),
  }
}

function functionName({ verb, noun }: Signature): string {
  return `${verb}_${noun}`
}

function programKey(signature: Signature): string {
  return `program ${functionName(signature)}(${signature.list}, ${signature.limit})`
}

/** A nested expression over defined names; every operator has its brackets. */
function expression(random: Random, names: readonly string[], depth: number): string {
  const leaf = () => (random.chance(0.7) ? random.pick(names) : String(random.int(1, 9)))
  if (depth === 0) return leaf()
  const left = random.chance(0.6) ? expression(random, names, depth - 1) : leaf()
  const right = random.chance(0.4) ? expression(random, names, depth - 1) : leaf()
  return `(${left} ${random.pick(['+', '-', '*'])} ${right})`
}

const PAIRS = { '(': ')', '[': ']', '{': '}' } as const
type Opening = keyof typeof PAIRS

interface Opened {
  written: string[]
  /** The brackets still open, outermost first. */
  open: Opening[]
}

function brackets(random: Random, split: Split): Draft {
  const key = ({ written }: Opened) => `brackets ${written.join(' ')}`
  const opened = drawIn(random, split, drawOpened, key)
  const closing = [...opened.open].reverse().map((bracket) => PAIRS[bracket])
  const prompt = `close: ${opened.written.join(' ')} ->`
  const answer = ` ${closing.join(' ')}`
  return { form: 'brackets', text: prompt + answer, prompt, answer, combinations: [key(opened)] }
}

/** Three to twelve brackets, some already closed again, one to six still open. */
function drawOpened(random: Random): Opened {
  const length = random.int(3, 12)
  const opened: Opened = { written: [], open: [] }
  while (opened.written.length < length || opened.open.length === 0) {
    const close = opened.open.length > 0 && random.chance(0.35)
    if (close || opened.open.length === 6) {
      opened.written.push(PAIRS[opened.open.pop()!])
    } else {
      const bracket = random.pick(['(', '[', '{'] as const)
      opened.written.push(bracket)
      opened.open.push(bracket)
    }
  }
  return opened
}
