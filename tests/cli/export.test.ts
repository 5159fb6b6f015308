import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { describe, type TestContext, test } from 'vitest'
import { MIXTRAL, outcomeOf, PATIENT, startCli, tinymoe } from './run-cli.ts'

/** A folder of its own for what an export makes. */
function place({ onTestFinished }: TestContext): string {
  const parent = mkdtempSync(join(tmpdir(), 'tinymoe-export-cli-'))
  onTestFinished(() => rmSync(parent, { recursive: true }))
  return parent
}

describe.concurrent('export-savedmodel', PATIENT, () => {
  test('--json says what was written', async (context) => {
    const { expect } = context
    const out = join(place(context), 'deep', 'out')
    const { code, stdout, stderr } = await tinymoe(
      'export-savedmodel',
      MIXTRAL,
      out,
      '--device',
      'cpu',
      '--json',
    )
    expect([code, stderr]).toEqual([0, ''])
    const cache = { dtype: 'float32', shape: [3, null, 2, null, 8] }
    const ids = { input_ids: { dtype: 'int32', shape: [null, null] } }
    const logits = { logits: { dtype: 'float32', shape: [null, null, 160] } }
    expect(JSON.parse(stdout)).toMatchObject({
      dir: out,
      signatures: {
        serving_default: { inputs: ids, outputs: logits },
        decode: {
          inputs: { ...ids, past_keys: cache, past_values: cache },
          outputs: { ...logits, keys: cache, values: cache },
        },
      },
    })
    expect(readdirSync(out).sort()).toEqual(['saved_model.pb', 'variables'])
  })

  test('a table for people, a directory already there, wrong usage', async (context) => {
    const { expect } = context
    const parent = place(context)
    const full = join(parent, 'full')
    mkdirSync(full)
    writeFileSync(join(full, 'notes.txt'), 'mine')
    const [made, refused, wrong, elsewhere] = await Promise.all([
      tinymoe('export-savedmodel', MIXTRAL, join(parent, 'out'), '--dispatch', 'dense', '--device', 'cpu'),
      tinymoe('export-savedmodel', MIXTRAL, full),
      tinymoe('export-savedmodel', MIXTRAL, join(parent, 'none'), '--dispatch', 'gather'),
      tinymoe('export-savedmodel', MIXTRAL, join(parent, 'none'), '--device', 'wasm'),
    ])
    expect(made.stdout).toMatch(
      /^signature +tensor +dtype +shape\nserving_default +input +input_ids +int32 +\[\?, \?\]\n/,
    )
    expect(made.stdout).toMatch(/out: \d+ nodes, \d+\.\d MB of weights in \d+ variables\n$/)
    expect(refused).toEqual({
      code: 1,
      stdout: '',
      stderr: `error: ${full}: is not empty, expected a new or an empty directory for the SavedModel\n`,
    })
    expect(wrong.code).toBe(2)
    expect(wrong.stderr).toContain('Allowed choices are sparse, dense.')
    expect(elsewhere).toMatchObject({ code: 1, stdout: '' })
    expect(elsewhere.stderr).toMatch(/^error: export: a SavedModel is made by TensorFlow/)
    expect(readdirSync(parent).sort()).toEqual(['full', 'out'])
  })

  // Whenever the signal comes: the directory is whole or not there, and nothing else is.
  test.for([
    ['SIGINT', 1500],
    ['SIGINT', 'writing'],
    ['SIGTERM', 'writing'],
    ['SIGTERM', 4000],
    ['SIGHUP', 3000],
  ] as const)('ended by %s at %s', async ([signal, when], context) => {
    const { expect } = context
    const parent = place(context)
    const child = startCli('export-savedmodel', MIXTRAL, join(parent, 'out'), '--device', 'cpu')
    const ended = outcomeOf(child)
    if (when === 'writing') {
      while (readdirSync(parent).length === 0 && child.exitCode === null) await setTimeout(1)
    } else await setTimeout(when)
    child.kill(signal)
    await ended
    const left = readdirSync(parent)
    expect([[], ['out']]).toContainEqual(left)
    if (left.length > 0) {
      expect(readdirSync(join(parent, 'out')).sort()).toEqual(['saved_model.pb', 'variables'])
      expect(readdirSync(join(parent, 'out', 'variables'))).toHaveLength(2)
    }
  })
})
