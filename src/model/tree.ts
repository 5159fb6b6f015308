/** What stands in a tree of plain objects and lists, each with its path, such as `blocks.0.attention.qkv.weight`. */
export function* leaves<Leaf extends object>(tree: unknown, path = ''): Generator<[path: string, Leaf]> {
  if (typeof tree !== 'object' || tree === null) return
  if (!isContainer(tree)) yield [path, tree as Leaf]
  else for (const [key, child] of Object.entries(tree)) yield* leaves(child, path ? `${path}.${key}` : key)
}

/** The tree with something else in the place of each leaf. */
export function mapLeaves<Leaf extends object>(
  tree: unknown,
  map: (leaf: Leaf, path: string) => unknown,
  path = '',
): unknown {
  if (typeof tree !== 'object' || tree === null) return tree
  if (!isContainer(tree)) return map(tree as Leaf, path)
  const inside = (child: unknown, key: string) => mapLeaves(child, map, path ? `${path}.${key}` : key)
  if (Array.isArray(tree)) return tree.map((child, i) => inside(child, String(i)))
  return Object.fromEntries(Object.entries(tree).map(([key, child]) => [key, inside(child, key)]))
}

function isContainer(node: object): boolean {
  return Array.isArray(node) || Object.getPrototypeOf(node) === Object.prototype
}
