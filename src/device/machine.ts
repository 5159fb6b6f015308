import { join } from 'node:path'
import { type Host, systemHost } from './host.ts'

/** An NVIDIA card as nvidia-smi lists it. */
export type Gpu = ReturnType<typeof parseGpu>
/** What the choice of a device rests on. Tests pass other machines than the one they run on. */
export type MachineDescription = Awaited<ReturnType<typeof describeMachine>>

/** The features that decide whether TensorFlow runs at all, and how fast: the rest of /proc/cpuinfo is noise. */
// biome-ignore format: a list of names reads better filled than one a line
const FEATURES_WORTH_NAMING = [
  'sse4_2', 'avx', 'avx2', 'fma', 'f16c', 'avx_vnni', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16',
  'amx_tile', 'amx_bf16', 'amx_int8', 'asimd', 'asimdhp', 'asimddp', 'i8mm', 'bf16', 'sve', 'sve2',
]

export async function describeMachine(host: Host = systemHost()) {
  const [cpuFeatures, hasLibcuda, { gpus, gpuProblem }] = await Promise.all([
    readCpuFeatures(host),
    findLibcuda(host),
    listGpus(host),
  ])
  return {
    platform: host.platform,
    arch: host.arch,
    /** glibc version, or null: musl, or not Linux. */
    glibc: host.platform === 'linux' ? host.glibcVersion() : null,
    cpuModel: host.cpuModel(),
    cpuFeatures,
    threads: host.threads(),
    memoryBytes: host.memoryBytes(),
    nodeVersion: host.nodeVersion,
    gpus,
    /** The driver's user library is there, even if nvidia-smi is not. */
    hasLibcuda,
    /** What nvidia-smi said instead of listing cards, or null. */
    gpuProblem,
    /** CUDA_VISIBLE_DEVICES, or null when it is not set. */
    cudaVisibleDevices: host.env.CUDA_VISIBLE_DEVICES ?? null,
  }
}

async function readCpuFeatures(host: Host): Promise<string[]> {
  if (host.platform === 'darwin') {
    const { stdout } = await host.run('sysctl', ['-a', 'hw.optional.arm'])
    return [...stdout.matchAll(/hw\.optional\.arm\.(\w+): 1/g)].map((match) => match[1])
  }
  const text = (await host.readText('/proc/cpuinfo')) ?? ''
  const present = new Set(/^(?:flags|Features)\s*:\s*(.*)$/m.exec(text)?.[1].split(' '))
  return FEATURES_WORTH_NAMING.filter((feature) => present.has(feature))
}

async function findLibcuda(host: Host): Promise<boolean> {
  if (host.platform !== 'linux') return false
  const folders = [
    ...(host.env.LD_LIBRARY_PATH ?? '').split(':').filter(Boolean),
    '/usr/lib/x86_64-linux-gnu',
    '/usr/lib/aarch64-linux-gnu',
    '/usr/lib64',
    '/usr/lib',
    '/usr/local/nvidia/lib64',
    '/usr/lib/wsl/lib',
    '/run/opengl-driver/lib',
  ]
  const found = await Promise.all(folders.map((folder) => host.exists(join(folder, 'libcuda.so.1'))))
  return found.includes(true)
}

async function listGpus(host: Host): Promise<{ gpus: Gpu[]; gpuProblem: string | null }> {
  if (host.platform !== 'linux') return { gpus: [], gpuProblem: null }
  const columns = 'index,uuid,name,memory.total,driver_version'
  const query = (fields: string) =>
    host.run('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader,nounits'])
  let result = await query(`${columns},compute_cap`)
  // Drivers before 510 do not know the field compute_cap; the rest is still worth having.
  if (result.code !== null && /compute_cap/.test(result.stdout + result.stderr)) result = await query(columns)
  if (result.code === null) return { gpus: [], gpuProblem: null }
  if (result.code !== 0) {
    const [said] = (result.stdout + result.stderr).trim().split('\n')
    return { gpus: [], gpuProblem: said || 'it failed without a message' }
  }
  return { gpus: result.stdout.trim().split('\n').filter(Boolean).map(parseGpu), gpuProblem: null }
}

function parseGpu(line: string) {
  const [index, uuid, name, mebibytes, driver, capability] = line.split(',').map((field) => field.trim())
  const memory = Number(mebibytes)
  return {
    index: Number(index),
    uuid,
    name,
    memoryBytes: Number.isFinite(memory) ? memory * 2 ** 20 : null, // '[N/A]' on cards that share the machine's memory
    driver,
    /** Such as '9.0'; null where nvidia-smi is too old to say. */
    computeCapability: (capability as string | undefined) ?? null,
  }
}
