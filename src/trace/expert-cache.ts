import type { LayerTrace } from '../model/trace.ts'

/**
 * Offloading keeps only some experts of each layer in fast memory and loads the others when a token needs them. A cache
 * policy says which stay:
 *
 * - `lru` evicts the expert unused for longest (Eliseev & Mazur 2023, "Fast Inference of Mixture-of-Experts Language
 *   Models with Offloading", arXiv:2312.17238, with one such cache a layer, as here);
 * - `lfu` evicts the one used least often so far, ties as in `lru`; uses count from the start of the run, also those
 *   before an eviction (Lin, He & Chen 2025, arXiv:2511.05814, put it before LRU);
 * - `static` holds the experts used most over the whole run and never changes (Kamahori et al. 2024, "Fiddler",
 *   arXiv:2402.07033, place by a profile taken beforehand; ours is taken from the same run, so it flatters);
 * - `optimal` evicts the one needed again last, which takes knowing the future (Belady 1966, "A study of replacement
 *   algorithms for a virtual-storage computer"): no cache that loads only what is missing and starts empty does better.
 *
 * `static` is filled before the run; the others start empty, so each expert's first use is a miss.
 */
export const CACHE_POLICIES = ['lru', 'lfu', 'static', 'optimal'] as const
export type CachePolicy = (typeof CACHE_POLICIES)[number]

/** One layer's caches, for every size. */
export type LayerCaches = ReturnType<typeof layerCaches>

/** What caches of one layer would have found, had the tokens come one at a time in the order of the trace. */
export function layerCaches(layer: LayerTrace) {
  const requests = expertRequests(layer)
  const sizes = Array.from({ length: layer.numExperts }, (_, i) => i + 1)
  const hits = (policy: CachePolicy) =>
    sizes.map((size) => cacheHits(requests, layer.numExperts, size, policy))
  return {
    layer: layer.layer,
    /** Experts asked for: T K, less dropped assignments. */
    requests: requests.length,
    /** Different experts among them: the misses that no cache which starts empty can avoid. */
    distinct: new Set(requests).size,
    /** Requests found in a cache of 1, 2, ..., E experts. */
    hits: { lru: hits('lru'), lfu: hits('lfu'), static: hits('static'), optimal: hits('optimal') },
  }
}

/** Experts in the order they are needed: token by token, a token's most preferred first; dropped ones never. */
export function expertRequests({ expertIndices }: Pick<LayerTrace, 'expertIndices'>): Int32Array {
  return expertIndices.filter((expert) => expert >= 0)
}

/** How many of the requests find their expert in a cache of `size` experts. */
export function cacheHits(
  requests: Int32Array,
  numExperts: number,
  size: number,
  policy: CachePolicy,
): number {
  if (policy === 'static') return staticHits(requests, numExperts, size)
  const evictsFirst = EVICTS_FIRST[policy]
  const nextUses = nextUsesOf(requests, numExperts)
  const history: History = {
    lastUse: new Int32Array(numExperts),
    uses: new Int32Array(numExperts),
    nextUse: new Int32Array(numExperts),
  }
  const cached = new Set<number>()
  let hits = 0
  requests.forEach((expert, now) => {
    if (cached.has(expert)) hits++
    else if (cached.size === size) {
      cached.delete([...cached].reduce((a, b) => (evictsFirst(history, a, b) < 0 ? a : b)))
    }
    cached.add(expert)
    history.lastUse[expert] = now
    history.uses[expert]++
    history.nextUse[expert] = nextUses[now]
  })
  return hits
}

/** What policies go by, an entry an expert. */
interface History {
  lastUse: Int32Array
  uses: Int32Array
  nextUse: Int32Array
}

/** Below 0 if expert a is to go before expert b. */
const EVICTS_FIRST: Record<Exclude<CachePolicy, 'static'>, (h: History, a: number, b: number) => number> = {
  lru: ({ lastUse }, a, b) => lastUse[a] - lastUse[b],
  lfu: ({ uses, lastUse }, a, b) => uses[a] - uses[b] || lastUse[a] - lastUse[b],
  optimal: ({ nextUse }, a, b) => nextUse[b] - nextUse[a],
}

/** For each request when its expert is asked for again; the number of requests if never. */
function nextUsesOf(requests: Int32Array, numExperts: number): Int32Array {
  const next = new Int32Array(numExperts).fill(requests.length)
  const nextUses = new Int32Array(requests.length)
  for (let now = requests.length - 1; now >= 0; now--) {
    nextUses[now] = next[requests[now]]
    next[requests[now]] = now
  }
  return nextUses
}

function staticHits(requests: Int32Array, numExperts: number, size: number): number {
  const uses = new Int32Array(numExperts)
  for (const expert of requests) uses[expert]++
  return uses
    .sort()
    .slice(numExperts - size)
    .reduce((a, b) => a + b, 0)
}
