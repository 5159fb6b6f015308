import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cacheRoot } from '../../src/device/cache.ts'
import { TENSORFLOW } from '../../src/device/release.ts'
import { encodeGraph } from '../../src/graph/protobuf.ts'
import type { CardStep } from './card-steps.ts'
import type { Registrations } from './registrations.ts'

/** Where TensorFlow's CUDA build for the audit is: its two libraries, its headers, and the program of placement.cc. */
export function auditFolder(): string {
  return join(cacheRoot(), `cuda-audit-${TENSORFLOW.version}`)
}

export function placementProgram(): string {
  return join(auditFolder(), 'placement')
}

export function hasPlacement(): boolean {
  return existsSync(placementProgram())
}

/** A node as the program prints it; types of inputs and outputs end in `@host` where they lie in the host's memory. */
interface PlacedNode {
  name: string
  op: string
  device: 'CPU' | 'GPU'
  in: string[]
  out: string[]
  inputs: string[]
  /** Of a copy between devices or memories: what it is called at both ends. */
  tensor: string
  cluster: string
}

/** What TensorFlow would do with a step on a card, after its placer, optimiser and partitioner. */
export interface Placement {
  /** Ops that it would run on the processor. */
  onProcessor: string[]
  /** Within the step from the card to the host, which waits, and back; each as `OP => OPS`. */
  waits: string[]
  toCard: string[]
  /** Copies of what is fed, and of what is fetched. */
  feeds: number
  results: number
  /** Nodes on the card that leave something in its memory, by their names. */
  onCard: Map<string, string>
  /** With XLA: how many of these it would compile to one, for each cluster. */
  clusters: number[]
}

export function place(step: CardStep, { xla = false } = {}): Placement {
  const folder = mkdtempSync(join(tmpdir(), 'tinymoe-placement-'))
  try {
    const file = join(folder, 'graph.pb')
    writeFileSync(file, encodeGraph(step.nodes))
    const ports = (refs: string[]) => refs.map((ref) => (ref.includes(':') ? ref : `${ref}:0`)).join()
    const text = run(['place', file, ports(step.fed), ports(step.fetched)], xla)
    return placementOf(JSON.parse(text))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What the CUDA build has for these ops. */
export function readRegistrations(ops: string[]): Registrations {
  return JSON.parse(run(['registrations', ops.join()], false))
}

function run(args: string[], xla: boolean): string {
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3', TF_XLA_FLAGS: xla ? '--tf_xla_auto_jit=2' : '' }
  return execFileSync(placementProgram(), args, {
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

const TRANSFER = /^_(Host)?(Send|Recv)$/

function placementOf(nodes: PlacedNode[]): Placement {
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const senders = new Map(nodes.filter(({ op }) => /Send$/.test(op)).map((node) => [node.tensor, node]))
  const source = (node: PlacedNode) => byName.get(node.inputs[0].split(':')[0]) as PlacedNode
  const readers = (node: PlacedNode) =>
    nodes.filter(({ inputs }) => inputs.some((ref) => ref.split(':')[0] === node.name)).map(({ op }) => op)
  const placement: Placement = {
    onProcessor: nodes
      .filter(({ device, op }) => device === 'CPU' && !TRANSFER.test(op) && !/^_(Arg|Retval)$/.test(op))
      .map(({ op }) => op),
    waits: [],
    toCard: [],
    feeds: 0,
    results: 0,
    onCard: new Map(),
    clusters: [],
  }
  const clusters = new Map<string, number>()
  for (const node of nodes) {
    if (/Recv$/.test(node.op)) {
      const sender = senders.get(node.tensor) as PlacedNode
      const copy = `${source(sender).op} => ${[...new Set(readers(node))].join(', ')}`
      if (sender.device === 'CPU') placement.feeds++
      else if (node.device === 'CPU') placement.results++
      else (node.op === '_HostRecv' ? placement.waits : placement.toCard).push(copy)
    } else if (
      node.device === 'GPU' &&
      !TRANSFER.test(node.op) &&
      node.out.some((type) => !type.endsWith('@host'))
    ) {
      placement.onCard.set(node.name, node.op)
      if (node.cluster) clusters.set(node.cluster, (clusters.get(node.cluster) ?? 0) + 1)
    }
  }
  return { ...placement, clusters: [...clusters.values()] }
}
