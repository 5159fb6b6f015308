import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { progressLines, withProgress } from '../../src/script/progress.ts'

let said: string
beforeEach(() => {
  vi.useFakeTimers()
  said = ''
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    said += text
    return true
  })
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

test('a line when ten seconds have passed: with the next step, or without one', () => {
  const lines = progressLines(false)
  lines.show('begun')
  vi.advanceTimersByTime(9_000)
  lines.show('half')
  expect(said).toBe('')
  vi.advanceTimersByTime(1_000)
  expect(said).toBe('half\n')
  lines.show('at once', true)
  expect(said).toBe('half\nat once\n')
  vi.advanceTimersByTime(25_000)
  expect(said).toBe('half\nat once\nat once\nat once\n')
  lines.stop()
  vi.advanceTimersByTime(60_000)
  expect(said).toBe('half\nat once\nat once\nat once\n')
})

test('none where it is shown otherwise', () => {
  const lines = progressLines(true)
  lines.show('begun', true)
  vi.advanceTimersByTime(60_000)
  lines.stop()
  expect(said).toBe('')
})

test('a bar is lines off a terminal', async () => {
  await withProgress('eval', async (onProgress) => {
    onProgress(0.3, 'losses')
    await vi.advanceTimersByTimeAsync(10_000)
    onProgress(0.4567, 'answers')
    await vi.advanceTimersByTimeAsync(10_000)
  })
  expect(said).toBe('eval 30 %  losses\neval 45 %  answers\n')
})
