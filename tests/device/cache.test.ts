import { isAbsolute, join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { cacheRoot, variantFolder } from '../../src/device/cache.ts'

test('the cache is a folder of the user, or what TINYMOE_CACHE says, always absolute', () => {
  expect(isAbsolute(cacheRoot({}))).toBe(true)
  expect(cacheRoot({})).toMatch(/tinymoe/)
  // The addon carries this path, so a relative one would hold in one folder only.
  expect(cacheRoot({ TINYMOE_CACHE: 'some/cache' })).toBe(resolve('some/cache'))
  expect(cacheRoot({ TINYMOE_CACHE: '' })).toBe(cacheRoot({}))
})

test('variants of one release lie beside each other', () => {
  expect(variantFolder('/c', 'cpu')).toBe(join('/c', 'tensorflow-2.21.0-cpu'))
  expect(variantFolder('/c', 'cuda')).toBe(join('/c', 'tensorflow-2.21.0-cuda'))
})
