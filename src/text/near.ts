/** Candidates by how like a name they are, the most like first. Likeness: 1 for the same pairs of letters, 0 for none in common. */
export function mostLike(name: string, candidates: readonly string[]): { name: string; likeness: number }[] {
  const wanted = letterPairs(name)
  return candidates
    .map((candidate) => ({ name: candidate, likeness: likeness(wanted, letterPairs(candidate)) }))
    .sort((a, b) => b.likeness - a.likeness)
}

function letterPairs(text: string): Set<string> {
  const last = text
    .toLowerCase()
    .split('/')
    .at(-1)!
    .replace(/[^a-z0-9]/g, '')
  return new Set(Array.from({ length: Math.max(0, last.length - 1) }, (_, i) => last.slice(i, i + 2)))
}

/** Dice's coefficient. */
function likeness(a: Set<string>, b: Set<string>): number {
  const shared = [...a].filter((pair) => b.has(pair)).length
  return (2 * shared) / (a.size + b.size || 1)
}
