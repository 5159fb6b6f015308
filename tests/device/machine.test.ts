import { expect, test } from 'vitest'
import { describeMachine } from '../../src/device/machine.ts'
import { fakeHost, OK, withCommands } from '../setup/fake-host.ts'

const LISTING = [
  '0, GPU-aaaa, NVIDIA H100 80GB HBM3, 81559, 550.54.15, 9.0',
  '1, GPU-bbbb, NVIDIA GB10, [N/A], 550.54.15, 12.1',
].join('\n')

test('a machine with two cards', async () => {
  const machine = await describeMachine(
    withCommands(fakeHost(), { 'nvidia-smi': { ...OK, stdout: LISTING } }),
  )
  expect(machine.gpus).toEqual([
    {
      index: 0,
      uuid: 'GPU-aaaa',
      name: 'NVIDIA H100 80GB HBM3',
      memoryBytes: 81559 * 2 ** 20,
      driver: '550.54.15',
      computeCapability: '9.0',
    },
    expect.objectContaining({ index: 1, memoryBytes: null, computeCapability: '12.1' }),
  ])
  expect(machine).toMatchObject({ glibc: '2.36', cpuFeatures: ['avx', 'avx2'], gpuProblem: null })
})

test('an nvidia-smi that does not know compute_cap still lists the cards', async () => {
  const host = fakeHost()
  host.run = async (_command, args) =>
    args.join(' ').includes('compute_cap')
      ? { code: 2, stdout: 'Field "compute_cap" is not a valid field to query.\n', stderr: '' }
      : { ...OK, stdout: '0, GPU-aaaa, Tesla P100, 16280, 450.80.02\n' }
  const [gpu] = (await describeMachine(host)).gpus
  expect(gpu).toMatchObject({ name: 'Tesla P100', driver: '450.80.02', computeCapability: null })
})

test('a driver that does not answer is a problem with its own words', async () => {
  const failure = {
    code: 9,
    stdout: "NVIDIA-SMI has failed because it couldn't communicate\nmore\n",
    stderr: '',
  }
  const machine = await describeMachine(withCommands(fakeHost(), { 'nvidia-smi': failure }))
  expect(machine.gpuProblem).toBe("NVIDIA-SMI has failed because it couldn't communicate")
})

test('libcuda is found where LD_LIBRARY_PATH says', async () => {
  const exists = async (path: string) => path === '/opt/driver/libcuda.so.1'
  const env = { LD_LIBRARY_PATH: '/opt/driver', CUDA_VISIBLE_DEVICES: '1' }
  const machine = await describeMachine(fakeHost({ exists, env }))
  expect(machine).toMatchObject({ hasLibcuda: true, gpus: [], cudaVisibleDevices: '1' })
})

test('a Mac is asked in its own way', async () => {
  const host = fakeHost({ platform: 'darwin', arch: 'arm64' })
  const sysctl = { ...OK, stdout: 'hw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_SME: 0\n' }
  const machine = await describeMachine(withCommands(host, { sysctl }))
  expect(machine).toMatchObject({ glibc: null, gpus: [], hasLibcuda: false, cpuFeatures: ['FEAT_BF16'] })
})

test('this machine can be described', async () => {
  const machine = await describeMachine()
  expect(machine.threads).toBeGreaterThan(0)
  expect(machine.memoryBytes).toBeGreaterThan(0)
  expect(machine.nodeVersion).toBe(process.versions.node)
})
