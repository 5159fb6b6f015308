import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { describe, expect, test, vi } from 'vitest'
import { hasOneDnn } from '../../src/backend/tensorflow.ts'
import { type Device, measureMachine, startRuntime } from '../../src/device/index.ts'
import { readPrepared } from '../../src/device/prepared.ts'
import { chooseThreads } from '../../src/device/threads.ts'
import { DeviceError, InputError } from '../../src/errors.ts'
import { fakeHost } from '../setup/fake-host.ts'

const { cpu, cuda } = await readPrepared()
const native = cpu.addon !== null || cuda.addon !== null
const devices: [Device, string, boolean][] = [
  ['cpu', 'tensorflow', native],
  ['wasm', 'wasm', true],
  ['js', 'cpu', true],
]

describe.each(devices)('%s', (device, backend, present) => {
  test.runIf(present)('starts, computes, and reports itself', async () => {
    const { report } = await startRuntime({ device })
    expect(tf.getBackend()).toBe(backend)
    expect(report).toMatchObject({
      device,
      backend,
      tfjsVersion: tf.version_core,
      nodeVersion: process.versions.node,
    })
    expect(report.candidates.find(({ taken }) => taken)?.device).toBe(device)
    const product = tf.tidy(() => tf.matMul(tf.ones([3, 4]), tf.ones([4, 2])))
    expect([...(await product.data())]).toEqual([4, 4, 4, 4, 4, 4])
    product.dispose()
  })

  test.runIf(present)('a second start gives the same backend and leaves no tensors', async () => {
    await startRuntime({ device })
    const [backendBefore, tensorsBefore] = [tf.backend(), tf.memory().numTensors]
    await startRuntime({ device })
    expect(tf.backend()).toBe(backendBefore)
    expect(tf.memory().numTensors).toBe(tensorsBefore)
  })

  test.runIf(present)('its speed can be read', async () => {
    await startRuntime({ device })
    const before = tf.memory().numTensors
    const { matmulGflops, memoryGbPerS } = await measureMachine(0.1)
    expect(matmulGflops).toBeGreaterThan(0)
    expect(memoryGbPerS).toBeGreaterThan(0)
    expect(tf.memory().numTensors).toBe(before)
  })
})

test('another device switches the backend, and back', async () => {
  for (const device of ['js', 'wasm', 'js'] as const) {
    expect((await startRuntime({ device })).report.device).toBe(device)
  }
  expect(tf.getBackend()).toBe('cpu')
})

test.runIf(native)('TensorFlow names its own version', async () => {
  expect((await startRuntime({ device: 'cpu' })).report.tensorflowVersion).toMatch(/^\d+\.\d+\.\d+/)
  expect((await startRuntime({ device: 'js' })).report.tensorflowVersion).toBeNull()
})

test('with nothing set up the best is wasm, and the report says what would help', async () => {
  const { report } = await startRuntime({}, fakeHost())
  expect(report.device).toBe('wasm')
  expect(report.candidates[1]).toEqual({
    device: 'cpu',
    taken: false,
    reason: 'TensorFlow is not set up: run `tinymoe setup`',
  })
})

test('an addon that does not load is passed over with its cause, and is an error when asked for', async () => {
  // In a process where TensorFlow is loaded already nothing is left to fail, so this one runs in its own.
  const script = `
    const { startRuntime } = await import('./src/device/start.ts')
    const { systemHost } = await import('./src/device/host.ts')
    const host = { ...systemHost(), env: { TINYMOE_CACHE: '/nowhere' }, npmPackage: () => ({ folder: '/nowhere', version: '1' }),
      exists: async (path) => path.endsWith('tfjs_binding.node') }
    const messages = []
    const { report } = await startRuntime({ onMessage: (m) => messages.push(m) }, host)
    const refused = await startRuntime({ device: 'cpu' }, host).catch((error) => error.message)
    console.log(JSON.stringify({ device: report.device, messages, refused }))`
  const { device, messages, refused } = JSON.parse((await runScript(script)).stdout)
  expect(device).toBe('wasm')
  expect(messages[0]).toMatch(
    /^cpu skipped: \/nowhere\/.* cannot be loaded \(.*\): run `tinymoe setup --force`/,
  )
  expect(refused).toMatch(/^device cpu cannot be used: .*cannot be loaded/)
})

test('works from any folder, and prints nothing but what is asked', async () => {
  const url = new URL('../../src/device/index.ts', import.meta.url).href
  const script = `
    const { startRuntime } = await import(${JSON.stringify(url)})
    for (const device of ${JSON.stringify(devices.filter(([, , present]) => present).map(([device]) => device))}) await startRuntime({ device })
    console.log('done')`
  expect(await runScript(script, tmpdir())).toEqual({ stdout: 'done\n', stderr: '' })
})

test('wrong values are refused', async () => {
  await expect(startRuntime({ device: 'gpu' })).rejects.toThrow(InputError)
  await expect(startRuntime({ threads: 0 })).rejects.toThrow('threads: 0 is no number of threads')
  const host = fakeHost()
  host.env.TINYMOE_DEVICE = 'cuda'
  await expect(startRuntime({}, host)).rejects.toThrow(DeviceError)
  await expect(startRuntime({}, host)).rejects.toThrow('TINYMOE_DEVICE cuda cannot be used')
})

test.runIf(native)(
  'the number of threads is set before TensorFlow is loaded, and holds for the process',
  async () => {
    const script = `
    const { startRuntime } = await import('./src/device/start.ts')
    const { report } = await startRuntime({ device: 'cpu', threads: 1 })
    console.log(report.threads, report.threadsReason)
    const { TF_NUM_INTRAOP_THREADS, TF_FORCE_GPU_ALLOW_GROWTH, TF_ENABLE_ONEDNN_OPTS } = process.env
    console.log(TF_NUM_INTRAOP_THREADS, TF_FORCE_GPU_ALLOW_GROWTH, TF_ENABLE_ONEDNN_OPTS)
    const again = await startRuntime({ device: 'cpu' })
    console.log(again.report.threads, again.report.threadsReason)
    await startRuntime({ device: 'cpu', threads: 3 }).catch((error) => console.log(error.message))`
    for (const theirs of [undefined, '1', 'true', '']) {
      vi.stubEnv('TF_ENABLE_ONEDNN_OPTS', theirs) // our graphs choose kernels themselves
      expect((await runScript(script)).stdout.split('\n')).toEqual([
        '1 asked for (threads)',
        `1 true ${hasOneDnn() ? 0 : theirs}`,
        '1 asked for (threads)',
        'threads: 3 were asked for, and TensorFlow already runs with 1 in this process',
        '',
      ])
    }
    vi.unstubAllEnvs()
  },
)

test('who says how many threads: the caller, then tinymoe’s variable, then TensorFlow’s, then the machine', () => {
  const env = { TINYMOE_THREADS: '3', TF_NUM_INTRAOP_THREADS: '4' }
  expect(chooseThreads(2, env, 8)).toEqual({ threads: 2, reason: 'asked for (threads)' })
  expect(chooseThreads(undefined, env, 8)).toEqual({ threads: 3, reason: 'asked for (TINYMOE_THREADS)' })
  expect(chooseThreads(undefined, { TF_NUM_INTRAOP_THREADS: '4' }, 8).threads).toBe(4)
  expect(chooseThreads(undefined, {}, 8)).toEqual({ threads: 8, reason: 'all that this process may use' })
  expect(() => chooseThreads(undefined, { TINYMOE_THREADS: 'many' }, 8)).toThrow(
    'TINYMOE_THREADS: many is no number of threads; expected a whole number from 1',
  )
})

async function runScript(script: string, cwd = process.cwd()): Promise<{ stdout: string; stderr: string }> {
  const tsx = import.meta.resolve('tsx')
  const args = ['--import', tsx, '--input-type=module', '--eval', script]
  return promisify(execFile)(process.execPath, args, { cwd })
}
