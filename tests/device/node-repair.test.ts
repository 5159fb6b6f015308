import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { repairNodeUtil } from '../../src/device/node-repair.ts'

const util = createRequire(import.meta.url)('node:util')

test('what newer Nodes lack is put back', () => {
  delete util.isNullOrUndefined
  delete util.isArray
  repairNodeUtil()
  expect([null, undefined, 0, ''].map(util.isNullOrUndefined)).toEqual([true, true, false, false])
  expect([[], {}].map(util.isArray)).toEqual([true, false])
})

test('a deprecated one that would warn is replaced', () => {
  util.isArray = () => {
    throw new Error('deprecated')
  }
  repairNodeUtil()
  expect(util.isArray([])).toBe(true)
})

test('what is there stays', () => {
  const own = () => false
  util.isNullOrUndefined = own
  repairNodeUtil()
  expect(util.isNullOrUndefined).toBe(own)
})
