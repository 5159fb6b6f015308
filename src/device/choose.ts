import { DeviceError, InputError } from '../errors.ts'
import type { Gpu, MachineDescription } from './machine.ts'
import type { Prepared } from './prepared.ts'
import { compareVersions, hasWheel, TENSORFLOW, type Variant } from './release.ts'
import type { Candidate } from './report.ts'
import { DEVICES, type Device } from './types.ts'

/** A device asked for by name, and by what, so that an error can say where it came from. */
export interface DeviceRequest {
  device: Device
  source: 'device' | 'TINYMOE_DEVICE'
}

export interface DeviceChoice {
  device: Device
  reason: string
  candidates: Candidate[]
  /** The build of TensorFlow to load; null for wasm and js. */
  variant: Variant | null
  /** The card to use; null for every device but cuda, and for cuda where no tool could list the cards. */
  gpu: VisibleGpu | null
}

/** A card that may be used, and what CUDA_VISIBLE_DEVICES has to be for it alone. */
export interface VisibleGpu {
  gpu: Gpu
  visibleAs: string
}

type Verdict = Pick<DeviceChoice, 'variant' | 'gpu' | 'reason'> & { fits: boolean }

/** The name asked for by option or environment; null means automatic. */
export function parseDevice(
  option: string | undefined,
  env: Record<string, string | undefined>,
): DeviceRequest | null {
  const source = option !== undefined ? 'device' : 'TINYMOE_DEVICE'
  const name = option ?? env.TINYMOE_DEVICE
  if (!name || name === 'auto') return null
  const device = DEVICES.find((known) => known === name)
  if (!device)
    throw new InputError(`${source}: "${name}" is no device; expected one of auto, ${DEVICES.join(', ')}`)
  return { device, source }
}

/**
 * The best device that fits: cuda, cpu, wasm, js. `failures` are devices that looked fit and then did not work, with
 * the cause. A device asked for by name is taken or is an error, never replaced.
 */
export function chooseDevice(
  machine: MachineDescription,
  prepared: Prepared,
  request: DeviceRequest | null = null,
  failures: ReadonlyMap<Device, string> = new Map(),
): DeviceChoice {
  const verdicts = DEVICES.map((device): [Device, Verdict] => {
    const failure = failures.get(device)
    return [device, failure === undefined ? JUDGES[device](machine, prepared) : reject(failure)]
  })
  const [device, verdict] =
    verdicts.find(([name, { fits }]) => (request ? name === request.device : fits)) ?? []
  if (!device || !verdict?.fits) {
    const cause = verdict?.reason ?? 'no device works on this machine'
    if (!request) throw new DeviceError(cause)
    const { source } = request
    throw new DeviceError(
      `${source} ${request.device} cannot be used: ${cause}; without it the best device that works is taken`,
    )
  }
  const left = request ? `not asked for (${request.source} ${device})` : `would work; ${device} is faster`
  const candidates = verdicts.map(([name, { fits, reason }]): Candidate => {
    const taken = name === device
    return { device: name, taken, reason: fits && !taken ? left : reason }
  })
  return { device, reason: verdict.reason, candidates, variant: verdict.variant, gpu: verdict.gpu }
}

/** Which build of TensorFlow setup should prepare here. */
export function chooseVariant(machine: MachineDescription): { variant: Variant | 'none'; reason: string } {
  const problem = tensorflowProblem(machine)
  if (problem) return { variant: 'none', reason: problem }
  const gpu = judgeGpus(machine)
  return { variant: gpu.fits ? 'cuda' : 'cpu', reason: gpu.reason }
}

const JUDGES: Record<Device, (machine: MachineDescription, prepared: Prepared) => Verdict> = {
  cuda: judgeCuda,
  cpu: judgeCpu,
  wasm: () => accept('WebAssembly runs everywhere, on one thread under Node'),
  js: () => accept('plain JavaScript runs everywhere, slowly'),
}

function judgeCuda(machine: MachineDescription, { cuda }: Prepared): Verdict {
  const problem = tensorflowProblem(machine)
  if (problem) return reject(problem)
  const verdict = judgeGpus(machine)
  if (!verdict.fits) return verdict
  if (cuda.problem) return reject(`the CUDA variant cannot be used: ${cuda.problem}`)
  if (!cuda.addon) {
    return reject(
      `${verdict.reason}, but the CUDA variant is not set up: run \`tinymoe setup --variant cuda\``,
    )
  }
  return verdict
}

function judgeCpu(machine: MachineDescription, { cpu, cuda }: Prepared): Verdict {
  const problem = tensorflowProblem(machine)
  if (problem) return reject(problem)
  if (cpu.addon) return accept('native TensorFlow on the processor', 'cpu')
  if (cuda.addon) return accept("native TensorFlow on the processor, by the CUDA variant's library", 'cuda')
  return reject(cpu.problem ?? 'TensorFlow is not set up: run `tinymoe setup`')
}

/** Why no build of TensorFlow can run on this machine, or null. */
function tensorflowProblem({ platform, arch, glibc, cpuFeatures }: MachineDescription): string | null {
  if (!hasWheel('cpu', platform, arch)) {
    return `TensorFlow ${TENSORFLOW.version} has no usable build for ${platform} ${arch} (only for linux x64, linux arm64, darwin arm64)`
  }
  if (platform === 'linux' && !glibc)
    return 'TensorFlow needs glibc, and this Linux uses another C library (musl?)'
  if (glibc && compareVersions(glibc, TENSORFLOW.minimumGlibc) < 0) {
    return `TensorFlow needs glibc ${TENSORFLOW.minimumGlibc} or newer, and this machine has ${glibc}`
  }
  if (arch === 'x64' && !cpuFeatures.includes('avx')) {
    return 'TensorFlow needs a processor with AVX, and this one has none'
  }
  return null
}

/** Whether a card here can run this TensorFlow, and which: of several, the first visible one that can. */
function judgeGpus(machine: MachineDescription): Verdict {
  const { platform, arch, gpus, gpuProblem, hasLibcuda, cudaVisibleDevices } = machine
  if (!hasWheel('cuda', platform, arch))
    return reject(`there is no CUDA build of TensorFlow for ${platform} ${arch}`)
  if (gpuProblem)
    return reject(`the NVIDIA driver does not answer (nvidia-smi: ${gpuProblem}): reinstall or reload it`)
  if (cudaVisibleDevices === '' || cudaVisibleDevices === '-1') {
    return reject(`CUDA_VISIBLE_DEVICES="${cudaVisibleDevices}" hides every GPU: unset it to use one`)
  }
  if (gpus.length === 0) {
    return hasLibcuda
      ? accept('the NVIDIA driver is there (libcuda.so.1), without nvidia-smi to name the card', 'cuda')
      : reject('no NVIDIA GPU with a driver was found (neither nvidia-smi nor libcuda.so.1)')
  }
  const visible = visibleGpus(gpus, cudaVisibleDevices)
  if (visible.length === 0) {
    return reject(
      `CUDA_VISIBLE_DEVICES="${cudaVisibleDevices}" names none of the ${gpus.length} GPUs listed by nvidia-smi`,
    )
  }
  const usable = visible.find(({ gpu }) => gpuProblemOf(gpu) === null)
  if (!usable) return reject(visible.map(({ gpu }) => gpuProblemOf(gpu)).join('; '))
  const { name, computeCapability, driver } = usable.gpu
  const capability = computeCapability ?? 'unknown'
  const which =
    visible.length > 1
      ? `, GPU ${usable.gpu.index} of ${visible.length} (CUDA_VISIBLE_DEVICES picks another)`
      : ''
  return accept(`${name}, compute capability ${capability}, driver ${driver}${which}`, 'cuda', usable)
}

function gpuProblemOf({ name, driver, computeCapability }: Gpu): string | null {
  const { version, minimumDriver, minimumCapability, maximumCapability } = TENSORFLOW
  if (compareVersions(driver, minimumDriver) < 0) {
    return `${name} has driver ${driver}, and TensorFlow ${version} (CUDA 12) needs ${minimumDriver} or newer: update the driver`
  }
  if (computeCapability === null) return null // the driver is new enough; the load itself will tell
  const supported =
    compareVersions(computeCapability, minimumCapability) >= 0 &&
    compareVersions(computeCapability, maximumCapability) <= 0
  if (supported) return null
  const known =
    compareVersions(computeCapability, '12.0') >= 0 ? ' (RTX 50 cards are known to fail with it)' : ''
  return `${name} has compute capability ${computeCapability}, and TensorFlow ${version} has kernels for ${minimumCapability} to ${maximumCapability} only${known}`
}

/** As CUDA reads the variable: indices or (starts of) UUIDs in order; the first unknown entry ends the list. */
function visibleGpus(gpus: Gpu[], cudaVisibleDevices: string | null): VisibleGpu[] {
  if (cudaVisibleDevices === null) return gpus.map((gpu) => ({ gpu, visibleAs: gpu.uuid }))
  const visible: VisibleGpu[] = []
  for (const entry of cudaVisibleDevices.split(',').map((text) => text.trim())) {
    const gpu = findGpu(gpus, entry)
    if (!gpu) break
    visible.push({ gpu, visibleAs: entry })
  }
  return visible
}

function findGpu(gpus: Gpu[], entry: string): Gpu | undefined {
  if (/^\d+$/.test(entry)) return gpus.find(({ index }) => index === Number(entry))
  if (/^GPU-\w/.test(entry)) return gpus.find(({ uuid }) => uuid.startsWith(entry))
  // A slice of a card (MIG) has an id that nvidia-smi's list does not show; the cards of one machine are alike.
  if (entry.startsWith('MIG-') && gpus.length > 0)
    return { ...gpus[0], name: `${gpus[0].name} (${entry})`, memoryBytes: null }
  return undefined
}

function accept(reason: string, variant: Variant | null = null, gpu: VisibleGpu | null = null): Verdict {
  return { fits: true, reason, variant, gpu }
}

function reject(reason: string): Verdict {
  return { fits: false, reason, variant: null, gpu: null }
}
