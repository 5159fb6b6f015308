import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { repairGather } from '../backend/kernel-repairs.ts'
import { hasOneDnn, loadedTensorflow } from '../backend/tensorflow.ts'
import { DeviceError, messageOf } from '../errors.ts'
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
  if (choice.device === 'js') silenceAdvice()
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
    withEnvironment(nativeEnvironment(visibleDevices, settings), () =>
      loadNative(variant, prepared[variant].addon!),
    )
    repairGather()
    loadedTensorflow()!.loadedWith = settings
  }
  const onGpu = loadedTensorflow()?.isUsingGpuDevice
  if (device === 'cuda' && !onGpu) {
    throw new DeviceError(
      'TensorFlow was loaded and found no usable GPU (`--debug` shows what it says about it)',
    )
  }
  if (device === 'cpu' && onGpu) {
    throw new DeviceError(
      'TensorFlow already runs on the GPU in this process: start it again with `--device cpu`',
    )
  }
}

/** TensorFlow reads these while it is loaded. What the person has set stays. */
function nativeEnvironment(visibleDevices: string | undefined, { threads, debug }: NativeSettings) {
  const { env } = process
  return {
    TF_FORCE_GPU_ALLOW_GROWTH: env.TF_FORCE_GPU_ALLOW_GROWTH ?? 'true', // else it takes all of the card's memory
    TF_CPP_MIN_LOG_LEVEL: env.TF_CPP_MIN_LOG_LEVEL ?? (debug ? '0' : '3'),
    // Graphs name their kernels (src/graph/products.ts); unset, TensorFlow would choose for them by the processor.
    TF_ENABLE_ONEDNN_OPTS: env.TF_ENABLE_ONEDNN_OPTS ?? (hasOneDnn() ? '0' : undefined),
    TF_NUM_INTRAOP_THREADS: String(threads.threads),
    TF_OVERRIDE_GLOBAL_THREADPOOL: env.TF_OVERRIDE_GLOBAL_THREADPOOL ?? '1', // so that a session may have its own number
    CUDA_DEVICE_ORDER: env.CUDA_DEVICE_ORDER ?? 'PCI_BUS_ID', // nvidia-smi's order
    CUDA_VISIBLE_DEVICES: visibleDevices ?? env.CUDA_VISIBLE_DEVICES,
  }
}

/** The choice of card is put back afterwards: it was for this load, not for child processes or a later question. */
function withEnvironment(values: Record<string, string | undefined>, work: () => void): void {
  const before = process.env.CUDA_VISIBLE_DEVICES
  for (const [name, value] of Object.entries(values)) if (value !== undefined) process.env[name] = value
  try {
    work()
  } finally {
    if (before === undefined) delete process.env.CUDA_VISIBLE_DEVICES
    else process.env.CUDA_VISIBLE_DEVICES = before
  }
}

function loadNative(variant: Variant, addon: string): void {
  repairNodeUtil()
  // First the addon alone: a missing library then fails before the package has registered its kernels.
  try {
    require(addon)
  } catch (error) {
    const [cause] = messageOf(error).split('\n') // below it Node lists who required it
    throw new DeviceError(`${addon} cannot be loaded (${cause}): run \`tinymoe setup --force\``)
  }
  const fromPackage = createRequire(require.resolve(`${ADDON_PACKAGES[variant]}/package.json`))
  const locator = fromPackage.resolve('@mapbox/node-pre-gyp')
  fromPackage(locator)
  const loaded = fromPackage.cache[locator]!
  const { exports } = loaded
  loaded.exports = { find: () => addon } // so the cache's addon serves also where node_modules cannot be written
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

/** The plain backend prints at its first use that a native one would be faster. The report says it better. */
function silenceAdvice(): void {
  const backend = tf.backend() as tf.KernelBackend & { firstUse: boolean }
  backend.firstUse = false
}

async function proveUsable(): Promise<void> {
  const product = tf.tidy(() => tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])))
  const [value] = await product.data()
  product.dispose()
  if (value !== 11)
    throw new DeviceError(`the device multiplies wrongly: [1 2] x [3 4] gave ${value}, expected 11`)
}
