import type { Random } from './random.ts'
import { drawIn } from './split.ts'
import type { Draft, Split } from './types.ts'
import { WORDS } from './words.ts'

const { weekdays } = WORDS
/** With their days in a common year. */
const months = Object.entries(WORDS.months)
const NUMERALS = {
  M: 1000,
  CM: 900,
  D: 500,
  CD: 400,
  C: 100,
  XC: 90,
  L: 50,
  XL: 40,
  X: 10,
  IX: 9,
  V: 5,
  IV: 4,
  I: 1,
}

const FORMS = {
  roman: 22,
  arabic: 12,
  weekday: 18,
  'to-words': 12,
  'to-iso': 12,
  'day-of-year': 14,
  next: 10,
}
type Form = keyof typeof FORMS

interface Day {
  year: number
  month: number
  day: number
}

/** One question about a number, a weekday or a date, with the one right answer. */
export function dates(random: Random, split: Split): Draft {
  const form = random.weighted<Form>(FORMS)
  const { prompt, answer, combination } = write(form, random, split)
  return { form, text: prompt + answer, prompt, answer, combinations: [combination] }
}

interface Question {
  prompt: string
  answer: string
  combination: string
}

function write(form: Form, random: Random, split: Split): Question {
  if (form === 'roman' || form === 'arabic') return romanQuestion(form, random, split)
  if (form === 'weekday') return weekdayQuestion(random, split)
  const date = drawIn(random, split, drawDay, dayKey)
  const combination = dayKey(date)
  switch (form) {
    case 'to-words':
      return { prompt: `${iso(date)} =`, answer: ` ${words(date)}`, combination }
    case 'to-iso':
      return { prompt: `${words(date)} =`, answer: ` ${iso(date)}`, combination }
    case 'day-of-year':
      return { prompt: `Day of the year, ${words(date)}:`, answer: ` ${dayOfYear(date)}`, combination }
    case 'next':
      return { prompt: `The day after ${words(date)}:`, answer: ` ${words(dayAfter(date))}`, combination }
  }
}

function romanQuestion(form: 'roman' | 'arabic', random: Random, split: Split): Question {
  const key = (value: number) => `roman ${value}`
  const value = drawIn(random, split, (r) => r.int(1, r.chance(0.3) ? 100 : 3999), key)
  const [left, right] = form === 'roman' ? [value, roman(value)] : [roman(value), value]
  return { prompt: `${left} =`, answer: ` ${right}`, combination: key(value) }
}

function roman(value: number): string {
  let rest = value
  let result = ''
  for (const [letters, size] of Object.entries(NUMERALS)) {
    while (rest >= size) {
      result += letters
      rest -= size
    }
  }
  return result
}

function weekdayQuestion(random: Random, split: Split): Question {
  const key = (q: { start: number; days: number }) => `weekday ${weekdays[q.start]} ${q.days}`
  const draw = (r: Random) => ({ start: r.int(0, 6), days: r.int(2, 99) })
  const question = drawIn(random, split, draw, key)
  const { start, days } = question
  const rest = days % 7
  return {
    prompt: `${weekdays[start]} + ${days} days:`,
    answer: ` ${days} = ${days - rest} + ${rest}; ${weekdays[(start + rest) % 7]}`,
    combination: key(question),
  }
}

function drawDay(random: Random): Day {
  const year = random.int(1900, 2099)
  const month = random.int(1, 12)
  // the ends of months are where dates are hard
  const last = lastDay(year, month)
  return { year, month, day: random.chance(0.2) ? random.int(last - 1, last) : random.int(1, last) }
}

function dayKey(date: Day): string {
  return `date ${iso(date)}`
}

function iso({ year, month, day }: Day): string {
  return `${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`
}

function words({ year, month, day }: Day): string {
  return `${day} ${months[month - 1][0]} ${year}`
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
}

function lastDay(year: number, month: number): number {
  return month === 2 && isLeap(year) ? 29 : months[month - 1][1]
}

function dayOfYear({ year, month, day }: Day): string {
  let before = 0
  for (let earlier = 1; earlier < month; earlier++) before += lastDay(year, earlier)
  return `${isLeap(year) ? 'leap' : 'common'} year; ${before} + ${day} = ${before + day}`
}

function dayAfter({ year, month, day }: Day): Day {
  if (day < lastDay(year, month)) return { year, month, day: day + 1 }
  return month < 12 ? { year, month: month + 1, day: 1 } : { year: year + 1, month: 1, day: 1 }
}
