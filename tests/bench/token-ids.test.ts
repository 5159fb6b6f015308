import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { outcomeOf, REPOSITORY } from '../cli/run-cli.ts'
import { FIXTURES } from '../helpers/golden.ts'

test('ids that check_models.py compares are those of the engine', async () => {
  const dir = join(FIXTURES, 'tokenizer')
  const texts = ['Once upon a time', 'größer\n34+27=61', '']
  const args = ['--import', 'tsx', 'bench/peers/token-ids.ts', dir]
  const child = spawn(process.execPath, args, { cwd: REPOSITORY, stdio: 'pipe' })
  const { stdout, code } = await outcomeOf(child, JSON.stringify(texts))
  expect(code).toBe(0)
  const tokenizer = await loadTokenizer(dir)
  expect(JSON.parse(stdout)).toEqual(await Promise.all(texts.map((text) => tokenizer!.encode(text))))
})
