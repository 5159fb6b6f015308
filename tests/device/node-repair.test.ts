import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { repairNodeUtil } from '../../src/device/node-repair.ts'
import { COMMAND, outcomeOf, REPOSITORY } from '../cli/run-cli.ts'

const require = createRequire(import.meta.url)
const util = require('node:util')
const NAMES = ['isNullOrUndefined', 'isArray']

/** Spoils node:util for one test, as another version of Node does. */
function withUtil(change: (name: string) => void): void {
  const before = Object.fromEntries(NAMES.map((name) => [name, util[name]]))
  onTestFinished(() => {
    Object.assign(util, before)
  })
  NAMES.forEach(change)
  repairNodeUtil()
}

function expectRepaired(): void {
  expect([null, undefined, 0, ''].map(util.isNullOrUndefined)).toEqual([true, true, false, false])
  expect([[], {}].map(util.isArray)).toEqual([true, false])
}

test('what newer Nodes lack is put back', () => {
  withUtil((name) => delete util[name])
  expectRepaired()
})

test('what announces itself as deprecated is replaced', () => {
  withUtil((name) => {
    util[name] = () => {
      throw new Error('deprecated')
    }
  })
  expectRepaired()
})

test('nothing else that tfjs-node takes from node:util is deprecated', () => {
  const folder = join(dirname(require.resolve('@tensorflow/tfjs-node/package.json')), 'dist')
  const code = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js') && !name.endsWith('_test.js'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .filter((text) => text.includes('require("util")'))
  const used = new Set(code.flatMap((text) => text.match(/(?<=\butil_1\.)\w+/g) ?? []))
  expect([...used].sort()).toEqual([...NAMES, 'promisify'].sort())
})

test('TensorFlow starts and computes where Node takes a deprecation for an error', async () => {
  const [node, ...command] = COMMAND
  const args = ['generate', 'models/moe', '--prompt', 'Once', '--max-tokens', '2']
  const { TINYMOE_DEVICE: _, ...env } = process.env
  const child = spawn(node, ['--throw-deprecation', '--pending-deprecation', ...command, ...args], {
    env,
    cwd: REPOSITORY,
  })
  const { code, stdout, stderr } = await outcomeOf(child)
  expect(stderr).toMatch(/^\[2 tokens.*\]\n$/)
  expect([code, stdout]).toEqual([0, ' upon\n'])
})
