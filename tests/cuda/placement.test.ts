import { describe, expect, test } from 'vitest'
import { auditCases, expectedWaits, forEachStep, labelOf, MOST_LAUNCHES } from './cases.ts'
import { checkGraph, launchesOf, total } from './check-graph.ts'
import { auditFolder, hasPlacement, place, readRegistrations } from './placement.ts'
import { storedRegistrations } from './registrations.ts'
import { ON_PROCESSOR } from './remaining.ts'

// TensorFlow's CUDA build takes 0.6 GB, so this never fetches it: it runs where `npm run audit:cuda` has been.
const there = hasPlacement()

describe.runIf(there)("TensorFlow's CUDA build, told that there is a card", () => {
  test('registers what is stored', () => {
    const stored = storedRegistrations()
    expect(readRegistrations(Object.keys(stored))).toEqual(stored)
  })

  test('places every step on the card, waits for sizes of groups alone, and has one copy for what is fed and fetched', async () => {
    await forEachStep(auditCases(), (item, step) => {
      const { onProcessor, waits, feeds, results, onCard } = place(step)
      const label = labelOf(item)
      expect(
        onProcessor.filter((op) => !ON_PROCESSOR[op]),
        label,
      ).toEqual([])
      expect(waits, label).toEqual(new Array(expectedWaits(item)).fill('Bincount => SplitV'))
      expect([feeds, results], label).toEqual([1, 1])
      if (label !== 'moe float32 auto, a decoded token') return
      const launches = total(launchesOf(onCard, step))
      expect(launches).toBeLessThanOrEqual(MOST_LAUNCHES)
      // What is counted without TensorFlow is no less.
      expect(total(checkGraph(step, storedRegistrations()).launches)).toBeGreaterThanOrEqual(launches)
    })
  }, 600_000)
})

describe.runIf(!there)("TensorFlow's CUDA build", () => {
  test(`not run: it is not in ${auditFolder()} (npm run audit:cuda)`, () => {
    expect(there).toBe(false)
  })
})
