/**
 * Replaces a method, of one object or of all by their prototype, until the returned function is called; the method is then
 * as it was, own or inherited. `wrap` gets the original bound to the object that was called.
 */
export function replace<T extends object, M extends keyof T>(
  object: T,
  method: M,
  wrap: (original: T[M], self: T) => T[M],
): () => void {
  const own = Object.getOwnPropertyDescriptor(object, method)
  const original = object[method] as (...args: unknown[]) => unknown
  object[method] = function (this: T, ...args: unknown[]) {
    const wrapped = wrap(original.bind(this) as T[M], this) as typeof original
    return wrapped(...args)
  } as T[M]
  return () => {
    if (own) Object.defineProperty(object, method, own)
    else delete object[method]
  }
}
