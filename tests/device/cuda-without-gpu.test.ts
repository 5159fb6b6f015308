import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { cacheRoot, variantFolder } from '../../src/device/cache.ts'
import { systemHost } from '../../src/device/host.ts'
import { describeMachine } from '../../src/device/machine.ts'
import { startRuntime } from '../../src/device/start.ts'
import { OK } from '../setup/fake-host.ts'

// The CUDA variant takes gigabytes, so this never fetches it: it runs where `tinymoe setup --variant cuda` has been.
const folder = variantFolder(cacheRoot(), 'cuda')
const { gpus } = await describeMachine()
const runs = existsSync(folder) && gpus.length === 0
const why = gpus.length > 0 ? 'this machine has a GPU' : `not run: no CUDA variant in ${folder}`

describe.runIf(runs)('the CUDA library on a machine without a GPU, told that there is one', () => {
  const real = systemHost()
  const host = {
    ...real,
    run: async (command: string, args: string[]) =>
      command === 'nvidia-smi'
        ? { ...OK, stdout: '0, GPU-a, Claimed, 81559, 550.54.15, 9.0\n' }
        : real.run(command, args),
  }

  test('automatic choice falls back to the processor and says so', async () => {
    const messages: string[] = []
    const { report } = await startRuntime({ onMessage: (message) => messages.push(message) }, host)
    expect(report.device).toBe('cpu')
    expect(report.tensorflowVersion).toBe('2.21.0')
    expect(report.candidates[0]).toMatchObject({ device: 'cuda', taken: false })
    expect(report.candidates[0].reason).toMatch(/found no usable GPU/)
    expect(messages).toEqual([
      expect.stringMatching(/^cuda skipped: TensorFlow was loaded and found no usable GPU/),
    ])
  })

  test('asked for, it is an error', async () => {
    await expect(startRuntime({ device: 'cuda' }, host)).rejects.toThrow(
      /device cuda cannot be used: .*no usable GPU/,
    )
  })
})

describe.runIf(!runs)('the CUDA library on a machine without a GPU', () => {
  test(why, () => {
    expect(runs).toBe(false)
  })
})
