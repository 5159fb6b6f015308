import * as tf from '@tensorflow/tfjs-core'
import { InputError, messageOf } from '../errors.ts'
import { activate, BACKENDS, tensorflowVersion } from './backends.ts'
import { chooseDevice, type DeviceChoice, parseDevice } from './choose.ts'
import { type Host, systemHost } from './host.ts'
import { describeMachine, type MachineDescription } from './machine.ts'
import { readPrepared } from './prepared.ts'
import type { Device, Runtime, RuntimeReport } from './types.ts'

export interface RuntimeOptions {
  /** cuda, cpu, wasm, js, or auto; left out, `TINYMOE_DEVICE` counts, then the best that works. */
  device?: string
  /** Threads of one TensorFlow op; fixed by the first start in a process. */
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
  const { threads, onMessage } = options
  if (threads !== undefined && !(Number.isInteger(threads) && threads > 0)) {
    throw new InputError(`threads: ${threads} is no number of threads; expected a whole number from 1`)
  }
  const request = parseDevice(options.device, host.env)
  const [machine, prepared] = await Promise.all([describeMachine(host), readPrepared(host)])
  const failures = new Map<Device, string>()
  for (;;) {
    const choice = chooseDevice(machine, prepared, request, failures)
    try {
      await activate(choice, prepared, options)
      return { report: describeRuntime(choice, machine) }
    } catch (error) {
      failures.set(choice.device, messageOf(error)) // the next round takes the next best, or throws for a request
      if (!request) onMessage?.(`${choice.device} skipped: ${messageOf(error)}`)
    }
  }
}

function describeRuntime(choice: DeviceChoice, machine: MachineDescription): RuntimeReport {
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
    threads: native ? Number(process.env.TF_NUM_INTRAOP_THREADS) || machine.threads : 1,
  }
}
