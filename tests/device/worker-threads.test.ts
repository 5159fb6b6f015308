import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { Worker } from 'node:worker_threads'
import * as tf from '@tensorflow/tfjs-core'
import { describe, expect, test } from 'vitest'
import { hasOneDnn } from '../../src/backend/tensorflow.ts'
import { environmentAddon } from '../../src/device/addon.ts'
import { readPrepared } from '../../src/device/prepared.ts'
import { loadModel } from '../../src/load-model.ts'
import { ENDING_SIGNALS } from '../../src/signals.ts'
import { MIXTRAL } from '../cli/run-cli.ts'
import { maxDifference } from '../helpers/golden.ts'

const { cpu, cuda } = await readPrepared()
const addon = cpu.addon ?? cuda.addon

interface Ran {
  logits: number[]
  next: number[]
  threads: number
}

/** Runs the Mixtral fixture in a worker thread, as recorded graphs; a sentence where that cannot be. */
function inWorker(threads?: number): Promise<Ran | string> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('in-worker.mjs', import.meta.url), {
      workerData: { dir: MIXTRAL, threads },
    })
    worker.once('error', reject)
    worker.once('message', (said) => worker.once('exit', () => resolve(said)))
  })
}

/** What a variable of the process is in C, which it then keeps. */
function inC(name: string, value: string): string | null {
  return createRequire(import.meta.url)(environmentAddon(addon!)).set(name, value)
}

/** The signals that each thread of this process leaves to others, bit n - 1 for signal n. */
function blocked(): Map<string, bigint> {
  const masks = new Map<string, bigint>()
  for (const id of readdirSync('/proc/self/task')) {
    const mask = /^SigBlk:\t(.*)$/m.exec(readFileSync(`/proc/self/task/${id}/status`, 'utf8'))
    masks.set(id, BigInt(`0x${mask![1]}`))
  }
  return masks
}

const isBlocked = (mask: bigint, signal: NodeJS.Signals) =>
  ((mask >> BigInt(constants.signals[signal] - 1)) & 1n) === 1n

describe.runIf(addon)('TensorFlow in threads of one process', () => {
  test('worker threads start it with its options, and hold one number of threads', async () => {
    const [first, second] = await Promise.all([inWorker(1), inWorker(1)])
    expect(first).toMatchObject({ threads: 1 })
    expect(second).toEqual(first)
    if (hasOneDnn()) expect(inC('TF_ENABLE_ONEDNN_OPTS', '0')).toBe('0')
    expect(inC('TF_NUM_INTRAOP_THREADS', '1')).toBe('1')
    expect(await inWorker(2)).toBe(
      'threads: 2 were asked for, and TensorFlow already runs with 1 in this process',
    )
  })

  test('the main thread has the same results, beside a worker thread', async () => {
    const elsewhere = inWorker()
    const model = await loadModel(MIXTRAL, { device: 'cpu' })
    const { logits } = model.forward([1, 5, 34, 139])
    const next = model.greedy([1, 5, 34]).tokens
    expect(model.runtime.threads).toBe(1)
    const there = (await elsewhere) as Ran
    expect(there.next).toEqual(next)
    expect(maxDifference(await logits.data(), there.logits)).toBeLessThan(1e-5)
    tf.dispose(logits)
    model.dispose()
  })
})

describe.runIf(addon && process.platform === 'linux')('signals', () => {
  test('threads that compute leave them to others; this one has them back after each call', async () => {
    await Promise.all(Array.from({ length: 8 }, () => readFile(`${MIXTRAL}/config.json`))) // libuv's own threads are there now
    const before = blocked()
    const binding = (tf.backend() as unknown as { binding: { getNumOfTensors(): number } }).binding
    expect(binding.getNumOfTensors()).toBeGreaterThanOrEqual(0)
    expect(blocked().get(String(process.pid))).toBe(before.get(String(process.pid)))
    const computing = [...before].filter(([id]) => /^tf_/.test(name(id)))
    expect(computing.length).toBeGreaterThan(0)
    for (const [, mask] of computing) {
      for (const signal of [...ENDING_SIGNALS, 'SIGWINCH', 'SIGPROF'] as const)
        expect(isBlocked(mask, signal)).toBe(true)
      expect(isBlocked(mask, 'SIGSEGV')).toBe(false)
    }
  })
})

function name(id: string): string {
  return readFileSync(`/proc/self/task/${id}/comm`, 'utf8')
}
