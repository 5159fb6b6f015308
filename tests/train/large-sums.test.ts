import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { tinymoe } from '../cli/run-cli.ts'

test('a step of as many rows as the shipped deepseek took runs in one thread', async () => {
  const out = mkdtempSync(join(tmpdir(), 'tinymoe-sums-'))
  onTestFinished(() => rmSync(out, { recursive: true }))
  // TensorFlow's memory optimizer made references of its large sums, which the single-threaded executor refused.
  const size = ['--batch', '8', '--length', '288', '--threads', '1', '--device', 'cpu']
  const { code, stderr } = await tinymoe(
    'train',
    '--preset',
    'deepseek',
    '--steps',
    '1',
    ...size,
    '--out',
    join(out, 'run'),
  )
  expect(code, stderr).toBe(0)
  expect(existsSync(join(out, 'run', 'model'))).toBe(true)
})
