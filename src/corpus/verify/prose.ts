/** What is wrong with the form of a story in either language: spaces, ends of sentences, capitals, quotes. */
export function proseProblems(text: string): string[] {
  const problems: string[] = []
  const found = (pattern: RegExp, problem: string) => {
    const match = pattern.exec(text)
    if (match) problems.push(`${problem}: "${text.slice(Math.max(0, match.index - 10), match.index + 15)}"`)
  }
  found(/\s{2}|\n|^\s|\s$/, 'space out of place')
  found(/ [,.!?]|[,.!?][\p{L}]|,,|\.\./u, 'punctuation out of place')
  found(/[^.!?"“]$|[^.!?]["“]$/, 'no end of a sentence')
  found(/^["„]?\p{Ll}|[.!?] ["„]?\p{Ll}/u, 'sentence without a capital')
  found(/[{}|$]/, 'a template not filled in')
  const quotes = text.replace(/[^"„“]/g, '')
  if (!/^(?:""|„“)*$/.test(quotes)) problems.push(`quotes do not pair: ${quotes}`)
  return problems
}
