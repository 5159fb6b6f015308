const CLOSERS: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' }
const KEYWORDS = new Set('function let const for of if else while return print'.split(' '))

/** The first bracket that does not match, described; undefined where all match. */
export function bracketProblem(text: string): string | undefined {
  const open: { bracket: string; at: number }[] = []
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if ('([{'.includes(char)) open.push({ bracket: char, at })
    if (!(char in CLOSERS)) continue
    const last = open.pop()
    if (!last) return `"${char}" at ${at} closes nothing`
    if (last.bracket !== CLOSERS[char]) return `"${char}" at ${at} closes "${last.bracket}" at ${last.at}`
  }
  const left = open.pop()
  return left && `"${left.bracket}" at ${left.at} is not closed`
}

/** What is wrong with a code document: brackets, indentation, names used before they are defined. */
export function codeProblems(text: string): string[] {
  const brackets = bracketProblem(text)
  if (brackets) return [brackets]
  const closing = /^close: ([()[\]{} ]+) -> ([)\]} ]+)$/.exec(text)
  if (closing) return []
  if (text.startsWith('close:')) return ['not a row of brackets and the closing ones']
  return [...indentationProblems(text), ...nameProblems(text)]
}

function indentationProblems(text: string): string[] {
  const problems: string[] = []
  let depth = 0
  text.split('\n').forEach((line, row) => {
    const code = line.trimStart()
    const expected = 2 * (code.startsWith('}') ? depth - 1 : depth)
    const found = line.length - code.length
    if (found !== expected) problems.push(`line ${row + 1} is indented by ${found}, expected ${expected}`)
    for (const char of line) depth += char === '{' ? 1 : char === '}' ? -1 : 0
  })
  return problems
}

function nameProblems(text: string): string[] {
  const problems: string[] = []
  const defined = new Set<string>()
  // properties (after a dot, or before a colon) are not variables
  const variables = text.replace(/\.\w+|\w+:/g, '')
  for (const statement of variables.split('\n')) {
    const definitions = /\bfunction (\w+)\(([^)]*)\)|\b(?:let|const) (\w+)|\((\w+)\) =>/g
    const introduced = [...statement.matchAll(definitions)].flatMap(
      ([, name, parameters, variable, argument]) =>
        name ? [name, ...parameters.split(', ')] : [variable ?? argument],
    )
    for (const [word] of statement.matchAll(/[a-z_]\w*/gi)) {
      if (!KEYWORDS.has(word) && !defined.has(word) && !introduced.includes(word)) {
        problems.push(`"${word}" is used before it is defined`)
      }
    }
    for (const name of introduced) defined.add(name)
  }
  return problems
}
