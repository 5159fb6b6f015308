import { describe, expect, test } from 'vitest'
import { chooseDevice, chooseVariant, parseDevice } from '../../src/device/choose.ts'
import type { Gpu, MachineDescription } from '../../src/device/machine.ts'
import type { Prepared } from '../../src/device/prepared.ts'
import { compareVersions } from '../../src/device/release.ts'
import { DeviceError, InputError } from '../../src/errors.ts'

const H100: Gpu = {
  index: 0,
  uuid: 'GPU-aaaa-1',
  name: 'NVIDIA H100',
  memoryBytes: 80e9,
  driver: '550.54.15',
  computeCapability: '9.0',
}

function machine(changes: Partial<MachineDescription> = {}): MachineDescription {
  return {
    platform: 'linux',
    arch: 'x64',
    glibc: '2.36',
    cpuModel: 'Test CPU',
    cpuFeatures: ['avx', 'avx2'],
    threads: 8,
    memoryBytes: 64e9,
    nodeVersion: '24.0.0',
    gpus: [],
    hasLibcuda: false,
    gpuProblem: null,
    cudaVisibleDevices: null,
    ...changes,
  }
}

const withGpu = (changes: Partial<Gpu> = {}) => machine({ gpus: [{ ...H100, ...changes }], hasLibcuda: true })
const there = { addon: '/addon', problem: null }
const absent = { addon: null, problem: null }
const BOTH: Prepared = { cpu: there, cuda: there }
const CPU_ONLY: Prepared = { cpu: there, cuda: absent }
const NOTHING: Prepared = { cpu: absent, cuda: absent }

function reasonOf(device: string, description: MachineDescription, prepared: Prepared): string {
  return chooseDevice(description, prepared).candidates.find((candidate) => candidate.device === device)!
    .reason
}

describe('automatic choice', () => {
  test.each([
    ['a GPU and both variants', withGpu(), BOTH, 'cuda'],
    ['a GPU of the oldest and newest supported kind', withGpu({ computeCapability: '6.0' }), BOTH, 'cuda'],
    ['a GPU, CUDA variant not set up', withGpu(), CPU_ONLY, 'cpu'],
    ['no GPU', machine(), BOTH, 'cpu'],
    ['no GPU, only the CUDA variant', machine(), { cpu: absent, cuda: there }, 'cpu'],
    ['nothing set up', machine(), NOTHING, 'wasm'],
    ['driver too old', withGpu({ driver: '470.82.01' }), BOTH, 'cpu'],
    ['RTX 50', withGpu({ computeCapability: '12.0' }), BOTH, 'cpu'],
    ['libcuda without nvidia-smi', machine({ hasLibcuda: true }), BOTH, 'cuda'],
    ['musl', machine({ glibc: null }), BOTH, 'wasm'],
    ['old glibc', machine({ glibc: '2.17' }), BOTH, 'wasm'],
    ['no AVX', machine({ cpuFeatures: ['sse4_2'] }), BOTH, 'wasm'],
    ['Windows', machine({ platform: 'win32', glibc: null }), BOTH, 'wasm'],
    ['Intel Mac', machine({ platform: 'darwin', glibc: null }), BOTH, 'wasm'],
    [
      'arm64 Mac',
      machine({ platform: 'darwin', arch: 'arm64', glibc: null, cpuFeatures: [] }),
      CPU_ONLY,
      'cpu',
    ],
  ])('%s', (_case, description, prepared, device) => {
    const choice = chooseDevice(description, prepared)
    expect(choice.device).toBe(device)
    expect(choice.candidates.map((candidate) => candidate.device)).toEqual(['cuda', 'cpu', 'wasm', 'js'])
    expect(choice.candidates.filter(({ taken }) => taken).map((candidate) => candidate.device)).toEqual([
      device,
    ])
    expect(choice.candidates.every(({ reason }) => reason.length > 0)).toBe(true)
  })

  test('the CUDA library serves the processor where it is the only one', () => {
    expect(chooseDevice(machine(), { cpu: absent, cuda: there }).variant).toBe('cuda')
    expect(chooseDevice(machine(), BOTH).variant).toBe('cpu')
  })

  test('a device that failed is passed over, with the cause', () => {
    const choice = chooseDevice(machine(), BOTH, null, new Map([['cpu', 'it multiplied wrongly']]))
    expect(choice.device).toBe('wasm')
    expect(choice.candidates[1]).toEqual({ device: 'cpu', taken: false, reason: 'it multiplied wrongly' })
  })
})

describe('reasons name cause and remedy', () => {
  test.each<[string, MachineDescription, Prepared, string[]]>([
    ['cuda', machine(), BOTH, ['no NVIDIA GPU', 'nvidia-smi', 'libcuda.so.1']],
    ['cuda', withGpu({ driver: '470.82.01' }), BOTH, ['470.82.01', '525.60.13', 'update the driver']],
    ['cuda', withGpu({ computeCapability: '12.0' }), BOTH, ['12.0', '6.0 to 9.0', 'RTX 50']],
    ['cuda', withGpu({ computeCapability: '5.2' }), BOTH, ['5.2', '6.0 to 9.0']],
    ['cuda', withGpu(), CPU_ONLY, ['NVIDIA H100', 'not set up', '`tinymoe setup --variant cuda`']],
    ['cuda', withGpu(), { cpu: there, cuda: { addon: null, problem: 'libraries are missing' } }, ['missing']],
    ['cuda', machine({ gpuProblem: 'Driver/library mismatch' }), BOTH, ['Driver/library mismatch', 'reload']],
    ['cuda', machine({ arch: 'arm64', cpuFeatures: [] }), BOTH, ['no CUDA build', 'linux arm64']],
    ['cpu', machine(), NOTHING, ['`tinymoe setup`']],
    ['cpu', machine({ cpuFeatures: [] }), BOTH, ['AVX']],
    ['cpu', machine({ platform: 'win32' }), BOTH, ['win32 x64', 'linux x64']],
  ])('%s %#', (device, description, prepared, parts) => {
    const reason = reasonOf(device, description, prepared)
    for (const part of parts) expect(reason).toContain(part)
    expect(reason).not.toContain('\n')
  })

  test('RTX 50 is named only for RTX 50', () => {
    expect(reasonOf('cuda', withGpu({ computeCapability: '10.0' }), BOTH)).not.toContain('RTX 50')
  })
})

describe('several GPUs', () => {
  const old: Gpu = { ...H100, index: 0, uuid: 'GPU-bbbb-2', name: 'Old card', computeCapability: '3.5' }
  const second: Gpu = { ...H100, index: 1 }
  const two = (cudaVisibleDevices: string | null, gpus = [{ ...H100 }, { ...second, uuid: 'GPU-cccc-3' }]) =>
    chooseDevice(machine({ gpus, hasLibcuda: true, cudaVisibleDevices }), BOTH)

  test('the first one is taken, and made the only visible one', () => {
    const { gpu, reason } = two(null)
    expect(gpu?.visibleAs).toBe('GPU-aaaa-1')
    expect(reason).toContain('GPU 0 of 2')
  })

  test('one without kernels is passed over', () => {
    expect(two(null, [old, second]).gpu?.gpu.index).toBe(1)
  })

  test.each([
    ['1', 1, '1'],
    ['1,0', 1, '1'],
    ['GPU-cccc', 1, 'GPU-cccc'],
    ['0,7,1', 0, '0'],
    ['MIG-1234', 0, 'MIG-1234'],
  ])('CUDA_VISIBLE_DEVICES=%s', (visible, index, visibleAs) => {
    expect(two(visible).gpu).toMatchObject({ gpu: { index }, visibleAs })
  })

  test.each(['', '-1', '7'])('CUDA_VISIBLE_DEVICES="%s" leaves none', (visible) => {
    const { device, candidates } = two(visible)
    expect(device).toBe('cpu')
    expect(candidates[0].reason).toContain(`CUDA_VISIBLE_DEVICES="${visible}"`)
  })

  test('when none will do, every one is named', () => {
    const { candidates } = two(null, [old, { ...old, index: 1, name: 'Older card' }])
    expect(candidates[0].reason).toMatch(/Old card.*Older card/)
  })
})

describe('a device asked for by name', () => {
  test.each(['cuda', 'cpu', 'wasm', 'js'] as const)('%s is taken where it works', (device) => {
    const choice = chooseDevice(withGpu(), BOTH, { device, source: 'device' })
    expect(choice.device).toBe(device)
    const other = choice.candidates.find((candidate) => candidate.device !== device)
    expect(other?.reason).toBe(`not asked for (device ${device})`)
  })

  test.each([
    [
      'cuda',
      machine(),
      BOTH,
      /^TINYMOE_DEVICE cuda cannot be used: no NVIDIA GPU.*; without it the best device/,
    ],
    ['cuda', withGpu({ driver: '470.1' }), BOTH, /update the driver/],
    ['cpu', machine(), NOTHING, /run `tinymoe setup`/],
  ] as const)('%s is an error where it does not', (device, description, prepared, message) => {
    const choose = () => chooseDevice(description, prepared, { device, source: 'TINYMOE_DEVICE' })
    expect(choose).toThrow(DeviceError)
    expect(choose).toThrow(message)
  })

  test('the option comes before the environment', () => {
    expect(parseDevice('js', { TINYMOE_DEVICE: 'wasm' })).toEqual({ device: 'js', source: 'device' })
    expect(parseDevice(undefined, { TINYMOE_DEVICE: 'wasm' })).toEqual({
      device: 'wasm',
      source: 'TINYMOE_DEVICE',
    })
    expect(parseDevice('auto', { TINYMOE_DEVICE: 'wasm' })).toBeNull()
    expect(parseDevice(undefined, {})).toBeNull()
  })

  test('an unknown name lists the known ones', () => {
    expect(() => parseDevice('gpu', {})).toThrow(InputError)
    expect(() => parseDevice('gpu', {})).toThrow(
      'device: "gpu" is no device; expected one of auto, cuda, cpu, wasm, js',
    )
    expect(() => parseDevice(undefined, { TINYMOE_DEVICE: 'tpu' })).toThrow('TINYMOE_DEVICE: "tpu"')
  })
})

describe('which variant to set up', () => {
  test.each([
    ['no GPU', machine(), 'cpu'],
    ['a GPU', withGpu(), 'cuda'],
    ['driver too old', withGpu({ driver: '470.82.01' }), 'cpu'],
    ['a card without kernels', withGpu({ computeCapability: '12.0' }), 'cpu'],
    ['musl', machine({ glibc: null }), 'none'],
    ['Windows', machine({ platform: 'win32' }), 'none'],
  ])('%s', (_case, description, variant) => {
    expect(chooseVariant(description).variant).toBe(variant)
  })
})

test.each([
  ['525.60.13', '525.60.13', 0],
  ['525.60.2', '525.60.13', -1],
  ['550', '525.60.13', 1],
  ['9.0', '10.0', -1],
])('version %s against %s', (a, b, order) => {
  expect(compareVersions(a, b)).toBe(order)
})
