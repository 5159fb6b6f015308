import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { record } from '../../src/graph/recorder.ts'
import { savedModelInMemory } from '../../src/graph/saved-model-memory.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { randomModel } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const sessions = () => activeTensorflow().binding.getNumOfSavedModels()

test('a disposed executor frees its sessions and tensors', () => {
  const before = { sessions: sessions(), tensors: tf.memory().numTensors }
  const model = randomModel()
  const recorded = new RecordedExecutor(model)
  for (const tokens of [[1], [1, 2], [1, 2, 3, 4]]) tf.dispose(recorded.forward(tokens, {}).logits)
  expect(sessions()).toBe(before.sessions + 3)
  recorded.dispose()
  model.dispose()
  expect({ sessions: sessions(), tensors: tf.memory().numTensors }).toEqual(before)
})

test('a session that cannot be made leaves none behind, and the next is not disturbed', () => {
  const before = { sessions: sessions(), tensors: tf.memory().numTensors }
  const x = tf.ones<tf.Rank.R1>([2])
  const seen: tf.Tensor[] = []
  const recording = record({ x }, () => {
    seen.push(tf.neg(x))
    return { y: seen[0] }
  })
  const nodes = recording.nodes.map((node) => (node.op === 'Neg' ? { ...node, op: 'NoSuchOp' } : node))
  expect(() => new GraphSession({ ...recording, nodes })).toThrow('TensorFlow does not take the graph')
  const wrong = [{ name: 'no variable of the graph', tensor: x }]
  expect(() => new GraphSession({ ...recording, variables: wrong })).toThrow()
  const session = new GraphSession(recording)
  const [y] = session.run({ x }, ['y'])
  expect([...y.dataSync()]).toEqual([-1, -1])
  session.dispose()
  tf.dispose([x, y, seen])
  expect({ sessions: sessions(), tensors: tf.memory().numTensors }).toEqual(before)
})

test('equal graphs share one entry in memory, others have their own', () => {
  const node = activeTensorflow()
  const bytes = (text: string) => Buffer.from(text)
  const first = savedModelInMemory(bytes('one'), node)
  expect(savedModelInMemory(bytes('one'), node)).toBe(first)
  expect(savedModelInMemory(bytes('two'), node)).not.toBe(first)
  const read = tf.tidy(() =>
    node.executeSingleOutput('ReadFile', [], [tf.scalar(`${first}/saved_model.pb`, 'string')]).dataSync(),
  )
  expect([...read]).toEqual(['one']) // and not 'oneone': that file system appends
})

/** Records and runs a graph, then ends in the way of its argument. */
const PROGRAM = fileURLToPath(new URL('record-and-end.ts', import.meta.url))

describe.concurrent('no temporary file is left', { timeout: 180_000 }, () => {
  test.each([
    ['exit', 3, null],
    ['throw', 1, null],
    ['SIGINT', null, 'SIGINT'],
    ['SIGTERM', null, 'SIGTERM'],
    ['SIGKILL', null, 'SIGKILL'],
  ] as const)('by a process that ends by %s without disposing', async (way, code, signal) => {
    const temporary = mkdtempSync(join(tmpdir(), 'tinymoe-memory-'))
    try {
      const env = { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary }
      const args = ['--import', 'tsx', PROGRAM, way]
      const ended = await new Promise<{ code: number | null; signal: string | null; said: string }>(
        (resolve) => {
          const child = execFile(process.execPath, args, { env }, (_, stdout) => {
            resolve({ code: child.exitCode, signal: child.signalCode, said: stdout })
          })
        },
      )
      expect(ended).toEqual({ code, signal, said: 'ran\n' })
      // The TypeScript runner and Node keep caches there.
      const left = readdirSync(temporary).filter((name) => !/^(tsx|node-compile-cache)/.test(name))
      expect(left).toEqual([])
    } finally {
      rmSync(temporary, { recursive: true })
    }
  })
})
