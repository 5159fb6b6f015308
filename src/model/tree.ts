/** What stands in a tree of plain objects and lists, each with its path, such as `blocks.0.attention.qkv.weight`. */
export function leaves<Leaf extends object>(tree: unknown, path = ''): [path: string, Leaf][] {
  const found: [string, Leaf][] = []
  const visit = (node: unknown, at: string) => {
    if (typeof node !== 'object' || node === null) return
    if (!isContainer(node)) found.push([at, node as Leaf])
    else for (const [key, child] of Object.entries(node)) visit(child, at ? `${at}.${key}` : key)
  }
  visit(tree, path)
  return found
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

/** The object with another value in the place of each. */
export function mapValues<T extends object, B>(
  object: T,
  map: (value: NonNullable<T[keyof T]>, key: string) => B,
): { [K in keyof T]: B } {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value, key)])) as never
}

function isContainer(node: object): boolean {
  return Array.isArray(node) || [Object.prototype, null].includes(Object.getPrototypeOf(node))
}
