import protobuf from 'protobufjs'

/**
 * The few messages of a SavedModel and of a session's options that a recorded graph needs, with TensorFlow's field numbers
 * (tensorflow/core/framework/*.proto and tensorflow/core/protobuf/{saved_model,meta_graph,config}.proto).
 */
const SCHEMA = `syntax = "proto3";
message Shape { message Dim { int64 size = 1; } repeated Dim dim = 2; bool unknown_rank = 3; }
message TensorProto { int32 dtype = 1; Shape tensor_shape = 2; bytes tensor_content = 4; repeated bytes string_val = 8; }
message ListValue { repeated bytes s = 2; repeated int64 i = 3; repeated float f = 4; repeated bool b = 5; repeated int32 type = 6; }
message AttrValue {
  oneof value { ListValue list = 1; bytes s = 2; int64 i = 3; float f = 4; bool b = 5; int32 type = 6; Shape shape = 7; TensorProto tensor = 8; }
}
message NodeDef { string name = 1; string op = 2; repeated string input = 3; string device = 4; map<string, AttrValue> attr = 5; }
message Versions { int32 producer = 1; }
message GraphDef { repeated NodeDef node = 1; Versions versions = 4; }
message TensorInfo { string name = 1; int32 dtype = 2; Shape tensor_shape = 3; }
message Signature { map<string, TensorInfo> inputs = 1; map<string, TensorInfo> outputs = 2; string method_name = 3; }
message MetaInfo { repeated string tags = 4; }
message Saver { string filename_tensor_name = 1; string save_tensor_name = 2; string restore_op_name = 3; int32 version = 7; }
message Variable { string variable_name = 1; string initializer_name = 2; string snapshot_name = 3; bool is_resource = 5; bool trainable = 7; }
message Collection { message BytesList { repeated bytes value = 1; } oneof kind { BytesList bytes_list = 2; } }
message MetaGraph { MetaInfo meta_info_def = 1; GraphDef graph_def = 2; Saver saver_def = 3; map<string, Collection> collection_def = 4; map<string, Signature> signature_def = 5; }
message SavedModel { int64 saved_model_schema_version = 1; repeated MetaGraph meta_graphs = 2; }
message ConfigProto { message Experimental { string executor_type = 3; } int32 intra_op_parallelism_threads = 2; Experimental experimental = 16; }`

/** TensorFlow's DataType numbers. */
export const DATA_TYPES = {
  float32: 1,
  float64: 2,
  int32: 3,
  string: 7,
  bool: 10,
  bfloat16: 14,
  float16: 19,
  resource: 20,
} as const
export type GraphDtype = keyof typeof DATA_TYPES

export type ShapeProto = { dim: { size: number }[] }

export type AttributeValue =
  | { type: number }
  | { b: boolean }
  | { i: number }
  | { f: number }
  | { s: Buffer }
  | { shape: ShapeProto }
  | { list: { i?: number[]; type?: number[] } }
  | {
      tensor: { dtype: number; tensor_shape: ShapeProto } & (
        | { tensor_content: Buffer }
        | { string_val: Buffer[] }
      )
    }

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

/** Where a signature's tensor is found in the graph; -1 in the shape is a size that the caller chooses. */
export interface SignatureTensor {
  name: string
  dtype: number
  shape: readonly number[]
}

export interface Signature {
  inputs: Record<string, SignatureTensor>
  outputs: Record<string, SignatureTensor>
}

/** The names under which a loader finds how variables are restored from and saved to files. */
export interface Saver {
  filenameTensor: string
  saveTensor: string
  restoreOp: string
}

/** A variable as Python wants to know it. Names of nodes. */
export interface VariableInfo {
  handle: string
  initializer: string
  read: string
}

export interface SavedModel {
  nodes: GraphNode[]
  signatures: Record<string, Signature>
  /** Left out where the variables get their values otherwise. */
  restored?: { saver: Saver; variables: VariableInfo[] }
}

/** A SavedModel file of one graph, tagged `serve`. */
export function encodeSavedModel({ nodes, signatures, restored }: SavedModel): Uint8Array {
  const encode = encoder()
  const variables = restored?.variables.map(({ handle, initializer, read }) =>
    encode('Variable', {
      variable_name: `${handle}:0`,
      initializer_name: initializer,
      snapshot_name: `${read}:0`,
      is_resource: true,
      trainable: true,
    }),
  )
  const collection = { bytes_list: { value: variables } }
  const metaGraph = {
    meta_info_def: { tags: ['serve'] },
    graph_def: { node: nodes, versions: { producer: 2000 } },
    signature_def: mapValues(signatures, ({ inputs, outputs }) => ({
      inputs: mapValues(inputs, tensorInfo),
      outputs: mapValues(outputs, tensorInfo),
      method_name: 'tensorflow/serving/predict',
    })),
    ...(restored && {
      saver_def: {
        filename_tensor_name: `${restored.saver.filenameTensor}:0`,
        save_tensor_name: `${restored.saver.saveTensor}:0`,
        restore_op_name: restored.saver.restoreOp,
        version: 2,
      },
      collection_def: { variables: collection, trainable_variables: collection },
    }),
  }
  return encode('SavedModel', { saved_model_schema_version: 1, meta_graphs: [metaGraph] })
}

/** A session's options: threads that one op may use, and whether a run stays in the thread that asks for it, node after node. */
export function encodeSessionConfig({
  opThreads,
  inCallingThread,
}: {
  opThreads: number
  inCallingThread: boolean
}): Uint8Array {
  return encoder()('ConfigProto', {
    intra_op_parallelism_threads: opThreads,
    ...(inCallingThread && { experimental: { executor_type: 'SINGLE_THREADED_EXECUTOR' } }),
  })
}

function encoder(): (type: string, message: object) => Uint8Array {
  const { root } = protobuf.parse(SCHEMA, { keepCase: true })
  return (type, message) => {
    const found = root.lookupType(type)
    return found.encode(found.fromObject(message)).finish()
  }
}

function tensorInfo({ name, dtype, shape }: SignatureTensor): object {
  return { name, dtype, tensor_shape: shapeProto(shape) }
}

function mapValues<V, W>(record: Record<string, V>, f: (value: V) => W): Record<string, W> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value)]))
}
