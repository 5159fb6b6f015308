import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { afterEach, beforeAll, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest'
import { LIMITS } from '../../src/backend/limits.ts'
import { activeTensorflow, type TfjsNode } from '../../src/backend/tensorflow.ts'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { constant, placeholder } from '../../src/graph/nodes.ts'
import { planFor } from '../../src/graph/plan.ts'
import { type Recording, record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { Session, Sessions } from '../../src/graph/sessions.ts'
import { maxDifference } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

let node: TfjsNode
let opened: MockInstance<Sessions['at']>
let closed: MockInstance<Session['dispose']>

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
  node = activeTensorflow()
})

beforeEach(() => {
  opened = vi.spyOn(Sessions.prototype, 'at')
  closed = vi.spyOn(Session.prototype, 'dispose')
})

afterEach(() => vi.restoreAllMocks())

const state = () => ({
  sessions: new Set(opened.mock.results.map(({ value }) => value)).size - new Set(closed.mock.contexts).size,
  tensors: tf.memory().numTensors,
})

test('the graphs of a model run in one session for each way of sharing threads, which it closes', () => {
  const before = state()
  const models = [randomModel({ E: 5 }), randomModel({ seed: 2 })]
  const executors = models.map((model) => new RecordedExecutor(model))
  const prompts = [1, 2, 5, 16, 20, 60, 300].map((length) => randomTokens(length, 40, length))
  for (const prompt of prompts)
    for (const [i, model] of models.entries()) {
      const [graph, eager] = [executors[i], model].map((by) => logitsOf(by.forward(prompt, {})))
      expect(maxDifference(graph, eager)).toBeLessThan(5e-5)
    }
  expect(state().sessions).toBe(before.sessions + models.length * 2) // few rows in the calling thread, more side by side
  executors[0].dispose()
  logitsOf(executors[1].forward(prompts[3], {}))
  executors[1].dispose()
  for (const model of models) model.dispose()
  expect(state()).toEqual(before)
})

test('more shapes than graphs are kept begin anew, and the caches are whole', () => {
  const before = state()
  const model = randomModel({ layers: 1 })
  const recorded = new RecordedExecutor(model)
  const cache = model.createCache()
  const tokens = randomTokens(12, 40, 1)
  logitsOf(recorded.forward(tokens, { cache }))
  const shapes = Array.from({ length: LIMITS.steps.graphs }, (_, i) => i + 1)
  for (const batch of shapes) logitsOf(recorded.forward(new Array(batch).fill([1, 2, 3, 4]), {}))
  expect(state().sessions).toBeLessThanOrEqual(before.sessions + 2)
  const next = logitsOf(recorded.forward([7], { cache }))
  expect(maxDifference(next, logitsOf(model.forward([...tokens, 7], { logits: 'last' })))).toBeLessThan(5e-5)
  cache.dispose()
  recorded.dispose()
  model.dispose()
  expect(state()).toEqual(before)
})

/** A graph of exp and neg. */
function negated(x: tf.Tensor): Recording {
  const seen: tf.Tensor[] = []
  const recording = record({ x }, () => {
    seen.push(tf.exp(x), tf.neg(x))
    return { y: seen[1] }
  })
  tf.dispose(seen)
  return recording
}

test.each([
  ['an op that there is not', { op: 'NoSuchOp' }, /: node Neg_1: Op type not registered 'NoSuchOp'/],
  ['an attribute of another type', { attr: { T: { type: 10 } } }, /: node Neg_1: Value for attr 'T' of bool/],
  ['an input that there is not', { input: ['nowhere'] }, /Node 'Neg_1': Unknown input node 'nowhere'$/],
])('%s: refused with the name of the node, and the next graph is not disturbed', (_, change, message) => {
  const before = state()
  const x = tf.ones<tf.Rank.R1>([2])
  const recording = negated(x)
  const nodes = recording.nodes.map((each) => (each.op === 'Neg' ? { ...each, ...change } : each))
  expect(() => new GraphSession({ ...recording, nodes })).toThrow(message)
  expect(state().sessions).toBe(before.sessions)
  const sessions = new Sessions()
  const plan = planFor()
  const first = new GraphSession(recording, plan, sessions)
  expect(() => new GraphSession({ ...recording, nodes }, plan, sessions)).toThrow(message)
  for (const graph of [first, new GraphSession(recording, plan, sessions)]) {
    const [y] = graph.run({ x }, ['y'])
    expect([...y.dataSync()]).toEqual([-1, -1])
    y.dispose()
  }
  sessions.dispose()
  x.dispose()
  expect(state()).toEqual(before)
})

describe('the addon', () => {
  const float = { type: 1 }
  const open = () => {
    const session = new Session({ opThreads: 0, inCallingThread: false })
    const prefix = session.add([
      placeholder('x', 'float32', [2]),
      constant('rows', 'int32', [1], Int32Array.of(5)),
      { name: 'y', op: 'Neg', input: ['x'], attr: { T: float } },
      {
        name: 'picked',
        op: 'Gather',
        input: ['x', 'rows'],
        attr: { Tparams: float, Tindices: { type: 3 }, validate_indices: { b: true } },
      },
    ])
    return { session, at: (name: string) => [prefix + name] }
  }

  test('feeds numbers by copying them', () => {
    const { session, at } = open()
    const fed = Float32Array.of(1, 2)
    const run = session.prepare(at('x'), at('y'))
    const [{ data, shape }] = session.run(run, [fed])
    fed.fill(9)
    expect([[...data], shape]).toEqual([[-1, -2], [2]])
    expect([...session.run(run, [fed])[0].data]).toEqual([-9, -9])
    session.dispose()
  })

  test('says in a sentence what is wrong', () => {
    const { session, at } = open()
    const { binding } = node
    const run = session.prepare(at('x'), at('y'))
    expect(() => session.prepare(at('z'), [])).toThrow('session: the graph has no node part0/z')
    expect(() => session.run(run, [new Float32Array(3)])).toThrow(
      'session: part0/x was given 12 bytes, expected 8',
    )
    expect(() => session.run(run, [])).toThrow('session: expected a value for each input')
    expect(() => binding.run(run, [-5], false)).toThrow('session: no tensor has the id -5')
    expect(() => binding.run(run, ['text' as never], false)).toThrow('expected a typed array')
    expect(() => binding.run({} as never, [], false)).toThrow(
      'expected what openSession or prepareRun returned',
    )
    const failing = session.prepare(at('x'), at('picked'))
    expect(() => session.run(failing, [new Float32Array(2)])).toThrow(
      /^session: a run failed: indices\[0\] = 5/,
    )
    session.dispose()
    session.dispose()
    expect(() => session.run(run, [new Float32Array(2)])).toThrow('session: it is closed')
    expect(() => open().session.add([{ name: 'y', op: 'Neg', input: [], attr: {} }])).toThrow('Neg')
  })

  test('opens a session with its options', () => {
    const { binding } = node
    const options = Buffer.from(`8201081a06${Buffer.from('NoSuch').toString('hex')}`, 'hex') // an executor that is none
    const graph = Buffer.from('', 'hex')
    const odd = binding.openSession(options)
    binding.extendSession(odd, graph, 'empty')
    const session = new Session({ opThreads: 1, inCallingThread: true })
    const prefix = session.add([constant('one', 'int32', [], Int32Array.of(1))])
    expect(session.run(session.prepare([], [`${prefix}one`]), [])).toEqual([
      { data: Int32Array.of(1), shape: [] },
    ])
    session.dispose()
    expect(() => binding.openSession(Uint8Array.of(255))).toThrow('Unparseable ConfigProto')
    binding.closeSession(odd)
  })
})

const programAt = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const PROGRAM = programAt('record-and-end.ts')

/** How the program ends, and what it said. */
function ended(args: string[], temporary: string) {
  const env = { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary }
  return new Promise<{ code: number | null; signal: string | null; said: string }>((resolve) => {
    const child = execFile(process.execPath, ['--import', 'tsx', ...args], { env }, (_, stdout) => {
      resolve({ code: child.exitCode, signal: child.signalCode, said: stdout })
    })
  })
}

describe.concurrent('a process that disposes nothing', { timeout: 180_000 }, () => {
  test.each([
    ['end', 0, null],
    ['exit', 3, null],
    ['throw', 1, null],
    ['SIGINT', null, 'SIGINT'],
    ['SIGTERM', null, 'SIGTERM'],
    ['SIGKILL', null, 'SIGKILL'],
  ] as const)('ends by %s as it should and leaves no file', async (way, code, signal) => {
    const temporary = mkdtempSync(join(tmpdir(), 'tinymoe-memory-'))
    try {
      expect(await ended([PROGRAM, way], temporary)).toEqual({ code, signal, said: 'ran\n' })
      // The TypeScript runner and Node keep caches there.
      const left = readdirSync(temporary).filter((name) => !/^(tsx|node-compile-cache)/.test(name))
      expect(left).toEqual([])
    } finally {
      rmSync(temporary, { recursive: true })
    }
  })
})

test('six graphs of a model of 200 MB hold its weights once, and give them back', async () => {
  const { said } = await ended(['--expose-gc', programAt('weights-once.ts')], tmpdir())
  const { bytes, added, left } = JSON.parse(said)
  const graphs = 64 * 2 ** 20 // nodes, what they compute, and the JavaScript heap
  expect(bytes).toBeGreaterThan(200e6)
  expect(added).toBeLessThan(1.1 * bytes + graphs)
  expect(left).toBeLessThan(graphs)
})
