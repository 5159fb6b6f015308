/** The names by how much they are like this one, the most first: Dice's coefficient of the pairs of letters in `part` of each. */
export function nearest(
  name: string,
  names: readonly string[],
  part: (name: string) => string = (whole) => whole,
): string[] {
  const wanted = letterPairs(part(name))
  const likeness = (pairs: Set<string>) =>
    (2 * [...pairs].filter((pair) => wanted.has(pair)).length) / (pairs.size + wanted.size || 1)
  return names
    .map((candidate) => ({ candidate, likeness: likeness(letterPairs(part(candidate))) }))
    .sort((a, b) => b.likeness - a.likeness)
    .map(({ candidate }) => candidate)
}

function letterPairs(text: string): Set<string> {
  const letters = text.toLowerCase().replace(/[^a-z0-9]/g, '')
  return new Set(Array.from({ length: Math.max(0, letters.length - 1) }, (_, i) => letters.slice(i, i + 2)))
}
