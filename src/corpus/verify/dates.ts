const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
)
const WEEKDAYS = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split(' ')
const LETTERS: Readonly<Record<string, number>> = { I: 1, V: 5, X: 10, L: 50, C: 100, D: 500, M: 1000 }
const CANONICAL = /^M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})$/
const DAY_MS = 86_400_000

/** What is wrong with a dates document. Dates are counted by the machine's calendar, not by the generator's. */
export function dateProblems(text: string): string[] {
  const equation = /^([^:]+) = ([^:]+)$/.exec(text)
  if (equation) return equationProblems(equation[1], equation[2])
  const day = /^Day of the year, (.+): (leap|common) year; (\d+) \+ (\d+) = (\d+)$/.exec(text)
  if (day) return dayOfYearProblems(day)
  const next = /^The day after (.+): (.+)$/.exec(text)
  if (next) return same(wordsToTime(next[2]), wordsToTime(next[1]) + DAY_MS, text)
  const weekday = /^(\w+) \+ (\d+) days: (\d+) = (\d+) \+ (\d); (\w+)$/.exec(text)
  if (weekday) return weekdayProblems(weekday)
  return [`not a question about dates: "${text}"`]
}

function same(found: number, expected: number, where: string): string[] {
  // NaN, from what is no date, equals nothing
  return found === expected ? [] : [`wrong: "${where}"`]
}

function equationProblems(left: string, right: string): string[] {
  const where = `${left} = ${right}`
  if (/^\d+$/.test(left)) return same(romanValue(right), Number(left), where)
  if (/^[IVXLCDM]+$/.test(left)) return same(Number(right), romanValue(left), where)
  if (/^\d/.test(left) && left.includes('-')) return same(isoToTime(left), wordsToTime(right), where)
  return same(isoToTime(right), wordsToTime(left), where)
}

/** NaN for letters that are not the usual way to write their number. */
function romanValue(letters: string): number {
  if (letters === '' || !CANONICAL.test(letters)) return Number.NaN
  const values = [...letters].map((letter) => LETTERS[letter])
  return values.reduce((sum, value, i) => sum + (value < (values[i + 1] ?? 0) ? -value : value), 0)
}

function isoToTime(text: string): number {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return Number.NaN
  const time = Date.parse(`${text}T00:00:00Z`)
  // V8 takes 30 February for 1 March
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text) ? time : Number.NaN
}

function wordsToTime(text: string): number {
  const match = /^([1-9]\d?) ([A-Z][a-z]+) (\d{4})$/.exec(text)
  if (!match) return Number.NaN
  const month = MONTHS.indexOf(match[2]) + 1
  return isoToTime(`${match[3]}-${String(month).padStart(2, '0')}-${match[1].padStart(2, '0')}`)
}

function dayOfYearProblems([where, words, kind, before, day, result]: string[]): string[] {
  const time = wordsToTime(words)
  const date = new Date(time)
  const year = date.getUTCFullYear()
  const ordinal = (time - Date.UTC(year, 0, 0)) / DAY_MS
  const isLeap = Date.UTC(year + 1, 0) - Date.UTC(year, 0) === 366 * DAY_MS
  return [
    ...same(Number(result), ordinal, where),
    ...same(Number(day), date.getUTCDate(), where),
    ...same(Number(before) + Number(day), ordinal, where),
    ...same(kind === 'leap' ? 1 : 0, isLeap ? 1 : 0, where),
  ]
}

function weekdayProblems([where, start, days, repeated, weeks, rest, end]: string[]): string[] {
  const [from, to] = [WEEKDAYS.indexOf(start), WEEKDAYS.indexOf(end)]
  if (from < 0 || to < 0) return [`no such weekday: "${where}"`]
  let at = from
  for (let day = 0; day < Number(days); day++) at = at === 6 ? 0 : at + 1
  return [
    ...same(to, at, where),
    ...same(Number(repeated), Number(days), where),
    ...same(Number(weeks) + Number(rest), Number(days), where),
    ...same(Number(weeks) % 7, 0, where),
    ...same(Number(rest) < 7 ? 1 : 0, 1, where),
  ]
}
