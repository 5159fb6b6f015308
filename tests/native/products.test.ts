import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { systemHost } from '../../src/device/host.ts'
import { chooseCompiler } from '../../src/setup/compiler.ts'

const folder = mkdtempSync(join(tmpdir(), 'products-'))
afterAll(() => rmSync(folder, { recursive: true }))

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))

test('weights as they are held: products, panels and widening are their definitions, on every kind of processor, without a stray read', async () => {
  const host = systemHost()
  const compiler = await chooseCompiler(host, 'system')
  if (compiler === 'fetch') throw new Error('expected a compiler')
  const program = join(folder, 'products')
  const [command, ...options] = compiler.command
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined']
  const args = [
    ...['-std=c++17', '-O1', ...sanitizers, `-I${at('../../src/native')}`],
    at('products.cc'),
    '-o',
    program,
  ]
  await promisify(execFile)(command, [...options, ...args])
  const { stdout } = await promisify(execFile)(program)
  const kinds = stdout.trim().split('\n')
  expect(['plain', 'AVX2', 'AVX-512', 'VNNI', 'BF16', 'AMX']).toEqual(expect.arrayContaining(kinds))
  expect(kinds[0]).toBe('plain')
}, 900_000) // clang takes 85 s of processor time
