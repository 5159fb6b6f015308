import protobuf from 'protobufjs'
import { DATA_TYPES } from '../backend/dtypes.ts'

export { DATA_TYPES }

export const FLOAT = { type: DATA_TYPES.float32 }
export const INT = { type: DATA_TYPES.int32 }

/**
 * The few messages of a graph and of a session's options that a recorded graph needs, with TensorFlow's field numbers
 * (tensorflow/core/framework/*.proto and tensorflow/core/protobuf/config.proto).
 */
const SCHEMA = `syntax = "proto3";
message Shape { message Dim { int64 size = 1; } repeated Dim dim = 2; bool unknown_rank = 3; }
message TensorProto { int32 dtype = 1; Shape tensor_shape = 2; bytes tensor_content = 4; }
message ListValue { repeated bytes s = 2; repeated int64 i = 3; repeated float f = 4; repeated bool b = 5; repeated int32 type = 6; }
message AttrValue {
  oneof value { ListValue list = 1; bytes s = 2; int64 i = 3; float f = 4; bool b = 5; int32 type = 6; Shape shape = 7; TensorProto tensor = 8; }
}
message NodeDef { string name = 1; string op = 2; repeated string input = 3; string device = 4; map<string, AttrValue> attr = 5; }
message Versions { int32 producer = 1; }
message GraphDef { repeated NodeDef node = 1; Versions versions = 4; }
message RewriterConfig { int32 memory_optimization = 4; }
message GraphOptions { RewriterConfig rewrite_options = 10; }
message ConfigProto {
  message Experimental { string executor_type = 3; }
  int32 intra_op_parallelism_threads = 2; GraphOptions graph_options = 10; Experimental experimental = 16;
}`

const ROOT = protobuf.parse(SCHEMA, { keepCase: true }).root

export type GraphDtype = keyof typeof DATA_TYPES

export type ShapeProto = { dim: { size: number }[] }

export type AttributeValue =
  | { type: number }
  | { b: boolean }
  | { i: number }
  | { f: number }
  | { s: Buffer }
  | { shape: ShapeProto }
  | { list: { i?: number[]; type?: number[]; s?: Buffer[] } }
  | { tensor: { dtype: number; tensor_shape: ShapeProto; tensor_content: Buffer } }

export interface GraphNode {
  name: string
  op: string
  /** `node`, `node:output`, or `^node` for "after". */
  input: string[]
  attr: Record<string, AttributeValue>
}

/** An input: `node`, `node:output` or `^node` without what is around the node's name. */
export function nodeOf(ref: string): string {
  return ref.replace(/^\^/, '').split(':')[0]
}

export function shapeProto(shape: readonly number[]): ShapeProto {
  return { dim: shape.map((size) => ({ size })) }
}

/** A GraphDef. */
export function encodeGraph(nodes: readonly GraphNode[]): Uint8Array {
  return encode('GraphDef', { node: nodes, versions: { producer: 2000 } })
}

/** Else large sums are rewritten to temporary variables: references, which the single-threaded executor refuses. */
const NO_MEMORY_OPTIMIZATION = 1

/** How a session shares work among threads. */
export interface SessionOptions {
  /** Threads that one op may use; 0: TensorFlow's own choice. */
  opThreads: number
  /** Whether a run stays in the thread that asks for it, node after node. */
  inCallingThread: boolean
}

/** A session's options as a ConfigProto. */
export function encodeSessionConfig({ opThreads, inCallingThread }: SessionOptions): Uint8Array {
  return encode('ConfigProto', {
    intra_op_parallelism_threads: opThreads,
    ...(inCallingThread && {
      experimental: { executor_type: 'SINGLE_THREADED_EXECUTOR' },
      graph_options: { rewrite_options: { memory_optimization: NO_MEMORY_OPTIMIZATION } },
    }),
  })
}

function encode(type: string, message: object): Uint8Array {
  const found = ROOT.lookupType(type)
  return found.encode(found.fromObject(message)).finish()
}
