import type { Random } from './random.ts'
import { drawIn } from './split.ts'
import { filled } from './template.ts'
import type { Draft, Split } from './types.ts'
import { WORDS } from './words.ts'

const { nouns, lists, limits, comparisons } = WORDS.code
const programs: Readonly<Record<string, string[]>> = WORDS.code.programs

/** What a program is named after and works on; `limit` is a parameter beside the list. */
interface Signature {
  verb: string
  noun: string
  list: string
  limit: string
}

/** A small function with a call of it, or a row of opening brackets to be closed. */
export function code(random: Random, split: Split): Draft {
  return random.chance(0.4) ? brackets(random, split) : program(random, split)
}

function program(random: Random, split: Split): Draft {
  const signature = drawIn(random, split, drawSignature, programKey)
  const { list, limit } = signature
  const name = functionName(signature)
  const slots = bodySlots(signature, random)
  const body = programs[signature.verb].map((line) => `  ${filled(line, slots)}`)
  const numbers = Array.from({ length: random.int(2, 5) }, () => random.int(0, 20))
  const call = `${name}([${numbers.join(', ')}], ${random.int(1, 9)})`
  const lines = [`function ${name}(${list}, ${limit}) {`, ...body, '}', `print(${call})`]
  return { form: 'program', text: lines.join('\n'), combinations: [programKey(signature)] }
}

/** What a body's lines may name: words of the signature, and what is drawn at its place. */
function bodySlots({ noun, list, limit }: Signature, random: Random) {
  return {
    ...{ noun, list, limit },
    compare: () => random.pick(comparisons),
    digit: () => String(random.int(0, 9)),
    factor: () => expression(random, [limit], 2),
    first: () => expression(random, [noun, limit], 3),
    second: () => expression(random, [noun, limit, 'first'], 3),
  }
}

function drawSignature(random: Random): Signature {
  return {
    verb: random.pick(Object.keys(programs)),
    noun: random.pick(nouns),
    list: random.pick(lists),
    limit: random.pick(limits),
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
