import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { widenHeldWeights } from '../backend/held.ts'
import { repairGather } from '../backend/kernel-repairs.ts'
import { registerSplitRows } from '../backend/row-groups.ts'
import { hasOneDnn, loadedTensorflow } from '../backend/tensorflow.ts'
import { DeviceError, messageOf } from '../errors.ts'
import { environmentAddon } from './addon.ts'
import type { DeviceChoice } from './choose.ts'
import { repairNodeUtil } from './node-repair.ts'
import type { Prepared } from './prepared.ts'
import { ADDON_PACKAGES, type Variant } from './release.ts'
import type { ThreadChoice } from './threads.ts'
import type { Device } from './types.ts'

/** The tfjs backend that serves a device. */
export const BACKENDS: Record<Device, string> = {
  cuda: 'tensorflow',
  cpu: 'tensorflow',
  wasm: 'wasm',
  js: 'cpu',
}

export interface NativeSettings {
  threads: ThreadChoice
  cpuFeatures: readonly string[]
  debug?: boolean
}

// The backends come through `require`, so that they share tfjs-core with tfjs-node, which is CommonJS.
const require = createRequire(import.meta.url)

/** Makes the device's backend the active one, and proves with a small product that it computes. */
export async function activate(
  choice: DeviceChoice,
  prepared: Prepared,
  settings: NativeSettings,
): Promise<void> {
  if (choice.device === 'wasm') registerWasm()
  else if (choice.device === 'js') require('@tensorflow/tfjs-backend-cpu')
  else openNative(choice, prepared, settings)

  if (!(await tf.setBackend(BACKENDS[choice.device])))
    throw new DeviceError(`tfjs could not start ${choice.device}`)
  await tf.ready()
  // It prints at its first use that a native one would be faster. The report says it better.
  if (choice.device === 'js') Object.assign(tf.backend(), { firstUse: false })
  await proveUsable()
}

export function tensorflowVersion(): string | null {
  return loadedTensorflow()?.binding.TF_Version ?? null
}

/** What TensorFlow was loaded with; null before. */
export function runningThreads(): ThreadChoice | null {
  return loadedTensorflow()?.loadedWith?.threads ?? null
}

/** A process can hold one TensorFlow only, so a second call can but confirm what the first one loaded. */
function openNative(
  { device, variant, gpu }: DeviceChoice,
  prepared: Prepared,
  settings: NativeSettings,
): void {
  if (!loadedTensorflow() && variant) {
    const visibleDevices = device === 'cuda' ? gpu?.visibleAs : '-1'
    const threads = loadNative(variant, prepared[variant].addon!, settings, visibleDevices)
    repairGather()
    registerSplitRows()
    widenHeldWeights(loadedTensorflow()!)
    loadedTensorflow()!.loadedWith = { ...settings, threads }
  }
  const onGpu = loadedTensorflow()?.isUsingGpuDevice
  if (device === 'cuda' && !onGpu) {
    throw new DeviceError(
      'TensorFlow was loaded and found no usable GPU (`--debug` shows what it says about it)',
    )
  }
  if (device === 'cpu' && onGpu) {
    throw new DeviceError(
      'TensorFlow already runs on the GPU in this process: start it again with device cpu',
    )
  }
}

/** An addon of src/native that is loaded before TensorFlow. */
interface ProcessEnvironment {
  /** Gives a variable of the process a value, or none, and returns what it had. In a worker thread `process.env` is a copy. */
  set(name: string, value: string | null): string | null
  /** What the first caller in the process gave. */
  claimThreads(threads: number): number
}

/** TensorFlow reads these in C, some while it is loaded. What the person has set stays, but for what our graphs rest on. */
function nativeEnvironment(threads: number, debug: boolean): Record<string, string> {
  const { env } = process
  return {
    TF_FORCE_GPU_ALLOW_GROWTH: env.TF_FORCE_GPU_ALLOW_GROWTH ?? 'true', // else it takes all of the card's memory
    TF_CPP_MIN_LOG_LEVEL: env.TF_CPP_MIN_LOG_LEVEL ?? (debug ? '0' : '3'),
    TF_NUM_INTRAOP_THREADS: String(threads),
    TF_OVERRIDE_GLOBAL_THREADPOOL: env.TF_OVERRIDE_GLOBAL_THREADPOOL ?? '1', // so that a session may have its own number
    CUDA_DEVICE_ORDER: env.CUDA_DEVICE_ORDER ?? 'PCI_BUS_ID', // nvidia-smi's order
    // Graphs name their kernels (src/graph/kernels.ts); else TensorFlow would choose for them by the processor.
    ...(hasOneDnn() ? { TF_ENABLE_ONEDNN_OPTS: '0' } : {}),
  }
}

/** Loads TensorFlow with its options, and returns the threads that it has: those of the first thread of this process to load it. */
function loadNative(
  variant: Variant,
  addon: string,
  { threads, debug }: NativeSettings,
  visibleDevices: string | undefined,
): ThreadChoice {
  repairNodeUtil()
  const environment: ProcessEnvironment = requireAddon(environmentAddon(addon))
  const held = environment.claimThreads(threads.threads)
  for (const [name, value] of Object.entries(nativeEnvironment(held, debug === true)))
    environment.set(name, value)
  const before = visibleDevices === undefined ? null : environment.set('CUDA_VISIBLE_DEVICES', visibleDevices)
  try {
    requireAddon(addon) // first the addon alone: a missing library then fails before the package has registered its kernels
    requirePackage(variant, addon)
  } finally {
    // The choice of card was for this load, not for child processes or a later question.
    if (visibleDevices !== undefined) environment.set('CUDA_VISIBLE_DEVICES', before)
  }
  return held === threads.threads
    ? threads
    : { threads: held, reason: 'another thread of this process has it so' }
}

function requireAddon(path: string) {
  try {
    return require(path)
  } catch (error) {
    const [cause] = messageOf(error).split('\n') // below it Node lists who required it
    throw new DeviceError(`${path} cannot be loaded (${cause}): run \`tinymoe setup --force\``)
  }
}

/** tfjs-node with the cache's addon, so that it serves also where node_modules cannot be written. */
function requirePackage(variant: Variant, addon: string): void {
  const fromPackage = createRequire(require.resolve(`${ADDON_PACKAGES[variant]}/package.json`))
  const locator = fromPackage.resolve('@mapbox/node-pre-gyp')
  fromPackage(locator)
  const loaded = fromPackage.cache[locator]!
  const { exports } = loaded
  loaded.exports = { find: () => addon }
  try {
    fromPackage(ADDON_PACKAGES[variant])
  } finally {
    loaded.exports = exports
  }
}

function registerWasm(): void {
  if (tf.findBackend('wasm')) return
  const path = require.resolve('@tensorflow/tfjs-backend-wasm')
  require(path).setWasmPaths(`${dirname(path)}/`)
}

async function proveUsable(): Promise<void> {
  const product = tf.tidy(() => tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])))
  const [value] = await product.data()
  product.dispose()
  if (value !== 11)
    throw new DeviceError(`the device multiplies wrongly: [1 2] x [3 4] gave ${value}, expected 11`)
}
