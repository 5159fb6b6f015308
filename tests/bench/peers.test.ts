import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PeerOptions, runPeers } from '../../bench/peers.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'peers-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** An interpreter that prints what it is told, whatever the script. */
function fakePython(body: string): string {
  const path = join(folder, `python-${readdirSync(folder).length}`)
  writeFileSync(path, `#!/bin/sh\n${body}\n`)
  chmodSync(path, 0o755)
  return path
}

function options(python: string, signal = new AbortController().signal): PeerOptions {
  return {
    python,
    layer: { D: 8, H: 4, E: 4, K: 2 },
    tokens: [1, 2],
    threads: 1,
    budgetMs: 10,
    seed: 1,
    signal,
  }
}

describe('peers', () => {
  test('rows come from the last line; flags carry the sizes', async () => {
    const line = `{"library":"transformers","versions":{"torch":"2.13.0"},"threads":1,"rows":[{"implementation":"eager","tokens":1,"n":5,"medianMs":2,"p10Ms":1,"p90Ms":3}]}`
    const python = fakePython(`echo "$@" > ${join(folder, 'flags')}\necho "some remark"\necho '${line}'`)
    const { report, problem } = await runPeers(options(python))
    expect(problem).toBeNull()
    expect(report).toEqual(JSON.parse(line))
    expect(readFileSync(join(folder, 'flags'), 'utf8')).toMatch(
      /bench\/peers\/transformers\.py --tokens 1,2 --dim 8 --hidden 4 --experts 4 --top-k 2 --threads 1 /,
    )
  })

  test('an interpreter that is not there is one sentence', async () => {
    const { report, problem } = await runPeers(options('/nowhere/python'))
    expect(report).toBeNull()
    expect(problem).toMatch(
      /^The peers were not measured: \/nowhere\/python cannot be started \(.*\); --python names another interpreter\.$/,
    )
  })

  test('what the script found missing is passed on', async () => {
    const python = fakePython(`echo '{"problem":"this Python has no usable torch (No module named torch)"}'`)
    const { report, problem } = await runPeers(options(python))
    expect({ report, problem }).toEqual({
      report: null,
      problem: 'The peers were not measured: this Python has no usable torch (No module named torch).',
    })
  })

  test('a script that fails, or prints something else, is a sentence with its last words', async () => {
    const failed = await runPeers(options(fakePython('echo "first" >&2; echo "MemoryError" >&2; exit 3')))
    expect(failed.problem).toMatch(/ended with code 3 \(MemoryError\)\.$/)
    const silent = await runPeers(options(fakePython('exit 0')))
    expect(silent.problem).toMatch(/ended with code 0 \(it said nothing\)\.$/)
  })

  test('an interrupt ends the process', async () => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 50)
    const { problem } = await runPeers(options(fakePython('exec sleep 60'), controller.signal))
    expect(problem).toContain('interrupted')
  })
})
