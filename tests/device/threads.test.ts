import { expect, test } from 'vitest'
import { chooseThreads, MAX_THREADS } from '../../src/device/threads.ts'
import { InputError } from '../../src/errors.ts'

test('numbers in any form are counts', () => {
  expect(chooseThreads(undefined, { TINYMOE_THREADS: '1e1' }, 8).threads).toBe(10)
  expect(chooseThreads(MAX_THREADS, {}, 8).threads).toBe(1024)
})

test.each<[number | undefined, Record<string, string>, string]>([
  [20_000, {}, 'threads: 20000 is no number of threads; expected a whole number from 1 to 1024'],
  [MAX_THREADS + 1, {}, 'threads: 1025 is'],
  [0, {}, 'threads: 0 is'],
  [1.5, {}, 'threads: 1.5 is'],
  [Number.NaN, {}, 'threads: NaN is'],
  [undefined, { TINYMOE_THREADS: '1e9' }, 'TINYMOE_THREADS: 1e9 is'],
  [undefined, { TINYMOE_THREADS: '0x10' }, 'TINYMOE_THREADS: 0x10 is'],
  [undefined, { TF_NUM_INTRAOP_THREADS: '20000' }, 'TF_NUM_INTRAOP_THREADS: 20000 is'],
])('%j with %j is refused', (asked, env, message) => {
  expect(() => chooseThreads(asked, env, 2)).toThrow(InputError)
  expect(() => chooseThreads(asked, env, 2)).toThrow(message)
})
