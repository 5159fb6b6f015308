import * as tf from '@tensorflow/tfjs-core'
import { InputError, messageOf } from '../errors.ts'
import { activate, BACKENDS, runningThreads, tensorflowVersion } from './backends.ts'
import { chooseDevice, type DeviceChoice, parseDevice } from './choose.ts'
import { type Host, systemHost } from './host.ts'
import { describeMachine, type MachineDescription } from './machine.ts'
import { readPrepared } from './prepared.ts'
import type { Runtime, RuntimeReport } from './report.ts'
import { chooseThreads, type ThreadChoice } from './threads.ts'
import type { Device } from './types.ts'

export interface RuntimeOptions {
  /** cuda, cpu, wasm, js, or auto; left out, `TINYMOE_DEVICE` counts, then the best that works. */
  device?: string
  /**
   * Threads that TensorFlow's ops may use; left out, `TINYMOE_THREADS` counts, then all there are. Fixed by the first start
   * in a process: another number is an error then.
   */
  threads?: number
  /** Lets TensorFlow's own messages through. */
  debug?: boolean
  /** Told when a device that looked fit did not work. */
  onMessage?: (message: string) => void
}

/** Chooses a device, makes its backend tfjs's active one, and says what was chosen and why. */
export async function startRuntime(
  options: RuntimeOptions = {},
  host: Host = systemHost(),
): Promise<Runtime> {
  const { onMessage, debug } = options
  const request = parseDevice(options.device, host.env)
  const [machine, prepared] = await Promise.all([describeMachine(host), readPrepared(host)])
  const threads = chooseThreads(options.threads, host.env, machine.threads)
  checkRunningThreads(options.threads)
  const failures = new Map<Device, string>()
  for (;;) {
    const choice = chooseDevice(machine, prepared, request, failures)
    try {
      await activate(choice, prepared, { threads, cpuFeatures: machine.cpuFeatures, debug })
      checkRunningThreads(options.threads) // another thread of this process may have started TensorFlow
      return { report: describeRuntime(choice, machine, runningThreads() ?? threads) }
    } catch (error) {
      if (error instanceof InputError) throw error
      failures.set(choice.device, messageOf(error)) // the next round takes the next best, or throws for a request
      if (!request) onMessage?.(`${choice.device} skipped: ${messageOf(error)}`)
    }
  }
}

/** @throws InputError when TensorFlow is loaded with another number than is asked for */
function checkRunningThreads(asked: number | undefined): void {
  const running = runningThreads()
  if (!running || asked === undefined || running.threads === asked) return
  throw new InputError(
    `threads: ${asked} were asked for, and TensorFlow already runs with ${running.threads} in this process`,
  )
}

function describeRuntime(
  choice: DeviceChoice,
  machine: MachineDescription,
  { threads, reason: threadsReason }: ThreadChoice,
): RuntimeReport {
  const { device, reason, candidates } = choice
  const native = device === 'cuda' || device === 'cpu'
  const gpu = choice.gpu?.gpu
  return {
    device,
    backend: BACKENDS[device],
    reason,
    candidates,
    deviceName: device === 'cuda' ? (gpu?.name ?? null) : machine.cpuModel,
    memoryBytes: device === 'cuda' ? (gpu?.memoryBytes ?? null) : machine.memoryBytes,
    driver: gpu?.driver ?? null,
    computeCapability: gpu?.computeCapability ?? null,
    tensorflowVersion: native ? tensorflowVersion() : null,
    tfjsVersion: tf.version_core,
    nodeVersion: machine.nodeVersion,
    platform: `${machine.platform} ${machine.arch}`,
    cpuModel: machine.cpuModel,
    cpuFeatures: machine.cpuFeatures,
    threads: native ? threads : 1,
    threadsReason: native ? threadsReason : `${device} has one`,
  }
}
