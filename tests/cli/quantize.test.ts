import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { register } from '../../src/cli/quantize.ts'
import { startRuntime } from '../../src/device/index.ts'
import { ENDING_SIGNALS, type EndingSignal, exitCodeOf } from '../../src/signals.ts'
import { tinyModel } from '../eval/tiny-model.ts'
import { said } from './in-process.ts'

const folder = mkdtempSync(join(tmpdir(), 'tinymoe-quantize-'))
const out = join(folder, 'new', 'model')
let source: string

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
  source = tinyModel(32)
})
afterAll(() => {
  for (const dir of [folder, source]) rmSync(dir, { recursive: true })
})
afterEach(() => {
  process.exitCode = undefined
})

/** Sends the signal once `now` is true of the files in `out`. */
async function ended(signal: EndingSignal, now: (files: string[]) => boolean, ...more: string[]) {
  const run = said(register, 'quantize', source, '--bits', '8', '--out', out, '--samples', '4', ...more)
  let over = false
  void run.finally(() => {
    over = true
  })
  while (!over && !now(filesOf(out))) await nextTurn()
  process.emit(signal, signal)
  return await run
}

function filesOf(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return []
  }
}

describe.each(ENDING_SIGNALS)('%s', (signal) => {
  test.each([1, 2, 5, 9])(
    'while numbers are read, rounded and written (turn %i): no model, and no folder for it',
    async (turn) => {
      let turns = 0
      const isWriting = (files: string[]) => files.some((name) => name.endsWith('.tmp')) && ++turns === turn
      expect(await ended(signal, isWriting)).toEqual({ stdout: '', error: null })
      expect(process.exitCode).toBe(exitCodeOf(signal))
      expect(filesOf(folder)).toEqual([])
    },
  )

  test.each([1, 10])('while texts are read to round by (turn %i): likewise', async (turn) => {
    let turns = 0
    const isReading = () => existsSync(out) && ++turns === turn
    expect(await ended(signal, isReading, '--calibrate', '3')).toEqual({ stdout: '', error: null })
    expect(process.exitCode).toBe(exitCodeOf(signal))
    expect(filesOf(folder)).toEqual([])
  })

  test('while both are compared: the model stays, whole', async () => {
    expect(await ended(signal, (files) => files.includes('config.json'))).toEqual({ stdout: '', error: null })
    expect(process.exitCode).toBe(exitCodeOf(signal))
    expect(filesOf(out).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json'])
    rmSync(join(folder, 'new'), { recursive: true })
  })
})

test('texts that memory does not hold are refused before anything is read by them', async () => {
  const memory = vi.spyOn(process, 'constrainedMemory').mockReturnValue(1)
  try {
    const run = said(register, 'quantize', source, '--bits', '8', '--out', out, '--calibrate', '3')
    expect((await run).error).toMatchObject({
      message: expect.stringMatching(
        /^--calibrate 3: needs about [\d.]+ GB of memory, and 0\.00 GB may be used$/,
      ),
    })
    expect(filesOf(folder)).toEqual([])
  } finally {
    memory.mockRestore()
  }
})
