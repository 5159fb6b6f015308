import { totalmem } from 'node:os'
import { expect, test, vi } from 'vitest'
import { availableMemory, gigabytes, memoryLimit, memoryProblem } from '../../src/device/memory.ts'

test('what is free is no more than the machine has, nor than a container allows', ({ onTestFinished }) => {
  expect(availableMemory()).toBeGreaterThan(0)
  expect(availableMemory()).toBeLessThanOrEqual(totalmem())
  const allowed = vi.spyOn(process, 'constrainedMemory')
  onTestFinished(() => allowed.mockRestore())
  allowed.mockReturnValue(process.memoryUsage.rss() + 1e6)
  expect(availableMemory()).toBeLessThan(2e8)
  allowed.mockReturnValue(1)
  expect(availableMemory()).toBe(0)
  allowed.mockReturnValue(0) // nobody limits it
  expect(availableMemory()).toBeGreaterThan(2e8)
})

test('a problem names both numbers', () => {
  const limit = memoryLimit({ device: 'cpu', memoryBytes: null }, () => 10e9)
  expect(memoryProblem(8e9, limit)).toBeNull()
  expect(memoryProblem(1.2345e15, limit)).toBe('needs about 1,230,000 GB of memory, and 8.00 GB may be used')
})

test.each([
  [12_345_678, '0.0123'],
  [65e9, '65.0'],
  [999e9, '999'],
  [3.777e17, '378,000,000'],
])('%d bytes are %s GB', (bytes, text) => {
  expect(gigabytes(bytes)).toBe(text)
})
