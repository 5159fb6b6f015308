import type { Random } from './random.ts'
import { drawIn } from './split.ts'
import type { Draft, Split } from './types.ts'

/** Two operands of a sum; a difference is the sum read backwards: `a + b - a = b`. */
interface Operands {
  a: number
  b: number
}

/** 2-digit sums are what the models are measured on, so they get most of the samples. */
const FORMS = {
  worked: 40,
  question: 15,
  plain: 15,
  'worked-3': 12,
  difference: 12,
  'difference-question': 6,
}
type Form = keyof typeof FORMS

/** One addition or subtraction. Digits are worked from the right, because that is the order carries arise in. */
export function arithmetic(random: Random, split: Split): Draft {
  const form = random.weighted<Form>(FORMS)
  const [low, high] = form === 'worked-3' ? [100, 999] : [10, 99]
  const draw = (r: Random): Operands => ({ a: r.int(low, high), b: r.int(low, high) })
  const operands = drawIn(random, split, draw, sumKey)
  const [prompt, answer] = write(form, operands)
  return { form, text: prompt + answer, prompt, answer, combinations: [sumKey(operands)] }
}

/** (a,b) and (b,a) are one combination, and so are the differences that undo the sum. */
export function sumKey({ a, b }: Operands): string {
  return `sum ${Math.min(a, b)}+${Math.max(a, b)}`
}

function write(form: Form, { a, b }: Operands): [prompt: string, answer: string] {
  const sum = a + b
  switch (form) {
    case 'worked':
    case 'worked-3':
      return [`${a}+${b}:`, ` ${additionSteps(a, b)}; =${sum}`]
    case 'question':
      return [`Question: What is ${a} plus ${b}?\nAnswer:`, ` ${additionSteps(a, b)}; =${sum}`]
    case 'plain':
      return [`${a}+${b}=`, `${sum}`]
    case 'difference':
      return [`${sum}-${a}:`, ` ${subtractionSteps(sum, a)}; =${b}`]
    case 'difference-question':
      return [`Question: What is ${sum} minus ${a}?\nAnswer:`, ` ${subtractionSteps(sum, a)}; =${b}`]
  }
}

function additionSteps(a: number, b: number): string {
  const places = Math.max(String(a).length, String(b).length)
  let carry = 0
  const steps = digitPairs(a, b, places).map(([x, y], place) => {
    const sum = x + y + carry
    const step = `${x}+${y}${carry ? '+1' : ''}=${sum}`
    carry = sum > 9 ? 1 : 0
    return carry && place < places - 1 ? `${step} carry 1` : step
  })
  return steps.join('; ')
}

function subtractionSteps(from: number, subtract: number): string {
  let borrowed = 0
  const steps = digitPairs(from, subtract, String(from).length).map(([x, y]) => {
    const borrow = x - y - borrowed < 0 ? 1 : 0
    const top = x + 10 * borrow
    const step = `${top}-${y}${borrowed ? '-1' : ''}=${top - y - borrowed}`
    borrowed = borrow
    return borrow ? `${step} borrow 1` : step
  })
  return steps.join('; ')
}

/** The digits of both, place by place from the right. */
function digitPairs(a: number, b: number, places: number): [number, number][] {
  const digits = (value: number) => [...String(value).padStart(places, '0')].reverse().map(Number)
  const ofB = digits(b)
  return digits(a).map((digit, place) => [digit, ofB[place]])
}
