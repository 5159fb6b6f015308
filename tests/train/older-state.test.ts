import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { CheckpointError } from '../../src/errors.ts'
import { checkpointDir, readTrainingState } from '../../src/train/checkpoint.ts'

/** A training's folder with a state of these settings, and the state's file. */
function stateOf(settings: object): { out: string; file: string } {
  const out = mkdtempSync(join(tmpdir(), 'tinymoe-state-'))
  onTestFinished(() => rmSync(out, { recursive: true }))
  mkdirSync(checkpointDir(out))
  for (const name of ['config.json', 'model.safetensors']) writeFileSync(join(checkpointDir(out), name), '{}')
  const file = join(checkpointDir(out), 'training.json')
  writeFileSync(file, JSON.stringify({ step: 3, settings }))
  return { out, file }
}

test.each([
  { preset: 'deepseek-v3', size: 'full' },
  { preset: 'moe', size: 'tiny' },
])('a training of a preset or size that is no more is one sentence: %j', ({ preset, size }) => {
  const { out, file } = stateOf({ preset, size })
  expect(() => readTrainingState(out)).toThrow(
    new CheckpointError(
      `${file}: is of preset ${preset} in size ${size}, expected one of moe, dense-active, dense-total, deepseek in full or small: go on with it in the version that began it`,
    ),
  )
})

test('one from before there were sizes is of the full one; one that began with a model has no preset', () => {
  expect(readTrainingState(stateOf({ preset: 'moe' }).out).settings.size).toBe('full')
  expect(readTrainingState(stateOf({ preset: null, from: 'runs/a' }).out).settings.from).toBe('runs/a')
})
