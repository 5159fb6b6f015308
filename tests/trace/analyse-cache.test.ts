import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CACHE_POLICIES, type CachePolicy, cacheHits, expertRequests } from '../../src/trace/expert-cache.ts'

const E = 4

function hits(requests: number[], policy: CachePolicy, size: number): number {
  return cacheHits(Int32Array.from(requests), E, size, policy)
}

test('0 0 1 2 0 by hand', () => {
  const of = (policy: CachePolicy) => [1, 2, 3, 4].map((size) => hits([0, 0, 1, 2, 0], policy, size))
  expect(of('lru')).toEqual([1, 1, 2, 2]) // with two kept, 2 pushes out 0, which is then missed
  expect(of('lfu')).toEqual([1, 2, 2, 2]) // 2 pushes out 1, used once, and 0 is still there
  expect(of('optimal')).toEqual([1, 2, 2, 2])
  expect(of('static')).toEqual([3, 4, 5, 5]) // filled beforehand: 0 has three of the five uses
})

test('uses count also from before an eviction', () => {
  // With two kept: 2 pushes out 1 (2 uses against 3), then 1 pushes out 2; now 0 and 1 have three uses each and 0 is the
  // older, so 2 pushes out 0 and the last 1 is found. Had 1 started again from nothing, it would have gone.
  expect(hits([1, 1, 0, 0, 0, 2, 1, 2, 1], 'lfu', 2)).toBe(3 + 1)
})

test('requests come token by token, most preferred first, without what was dropped', () => {
  expect([...expertRequests({ expertIndices: Int32Array.from([2, 0, 1, -1, 3, 2]) })]).toEqual([
    2, 0, 1, 3, 2,
  ])
})

/** Experts listed from first to go to last to go; a hit or a load moves to the end. */
function slowLru(requests: number[], size: number): number {
  let list: number[] = []
  let found = 0
  for (const expert of requests) {
    if (list.includes(expert)) found++
    list = [...list.filter((e) => e !== expert), expert].slice(-size)
  }
  return found
}

/** Counts all uses anew at each eviction. */
function slowLfu(requests: number[], size: number): number {
  let kept: number[] = []
  let found = 0
  requests.forEach((expert, now) => {
    const past = requests.slice(0, now)
    if (kept.includes(expert)) found++
    else {
      const byUse = kept.toSorted(
        (a, b) =>
          past.filter((e) => e === a).length - past.filter((e) => e === b).length ||
          past.lastIndexOf(a) - past.lastIndexOf(b),
      )
      kept = [...(kept.length < size ? kept : byUse.slice(1)), expert]
    }
  })
  return found
}

/** The best of every way to choose what to evict. */
function bestOfAll(requests: number[], size: number, kept: number[] = []): number {
  if (requests.length === 0) return 0
  const [expert, ...rest] = requests
  if (kept.includes(expert)) return 1 + bestOfAll(rest, size, kept)
  if (kept.length < size) return bestOfAll(rest, size, [...kept, expert])
  return Math.max(...kept.map((out) => bestOfAll(rest, size, [...kept.filter((e) => e !== out), expert])))
}

/** The best of every fixed set. */
function bestFixed(requests: number[], size: number): number {
  const sets = Array.from({ length: 2 ** E }, (_, bits) =>
    Array.from({ length: E }, (_, e) => e).filter((e) => bits & (1 << e)),
  ).filter((set) => set.length === size)
  return Math.max(...sets.map((set) => requests.filter((e) => set.includes(e)).length))
}

const SLOW: Record<CachePolicy, (requests: number[], size: number) => number> = {
  lru: slowLru,
  lfu: slowLfu,
  optimal: bestOfAll,
  static: bestFixed,
}

const requestsAndSize = [
  fc.array(fc.integer({ min: 0, max: E - 1 }), { maxLength: 12 }),
  fc.integer({ min: 1, max: E }),
] as const

test.each(CACHE_POLICIES)('%s equals the slow definition', (policy) => {
  fc.assert(
    fc.property(...requestsAndSize, (requests, size) => {
      expect(hits(requests, policy, size)).toBe(SLOW[policy](requests, size))
    }),
  )
})

describe('for any requests', () => {
  const property = (check: (requests: number[], size: number) => void) =>
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: E - 1 }), { maxLength: 200 }),
        requestsAndSize[1],
        check,
      ),
    )

  test('a larger LRU, static or optimal cache finds no less (inclusion: Mattson et al. 1970)', () => {
    property((requests, size) => {
      for (const policy of ['lru', 'static', 'optimal'] as const) {
        if (size < E)
          expect(hits(requests, policy, size + 1)).toBeGreaterThanOrEqual(hits(requests, policy, size))
      }
    })
  })

  test('with every expert kept only first uses are misses, and static has none', () => {
    property((requests) => {
      for (const policy of ['lru', 'lfu', 'optimal'] as const) {
        expect(hits(requests, policy, E)).toBe(requests.length - new Set(requests).size)
      }
      expect(hits(requests, 'static', E)).toBe(requests.length)
    })
  })

  test('no policy that starts empty beats the optimum', () => {
    property((requests, size) => {
      const best = hits(requests, 'optimal', size)
      expect(Math.max(hits(requests, 'lru', size), hits(requests, 'lfu', size))).toBeLessThanOrEqual(best)
    })
  })
})
