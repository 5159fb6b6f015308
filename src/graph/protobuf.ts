import protobuf from 'protobufjs'

/**
 * The few messages of a SavedModel that a recorded graph needs, with TensorFlow's field numbers
 * (tensorflow/core/framework/*.proto and tensorflow/core/protobuf/{saved_model,meta_graph}.proto).
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
message TensorInfo { string name = 1; int32 dtype = 2; Shape tensor_shape = 3; }
message Signature { map<string, TensorInfo> inputs = 1; map<string, TensorInfo> outputs = 2; string method_name = 3; }
message MetaInfo { repeated string tags = 4; }
message MetaGraph { MetaInfo meta_info_def = 1; GraphDef graph_def = 2; map<string, Signature> signature_def = 5; }
message SavedModel { int64 saved_model_schema_version = 1; repeated MetaGraph meta_graphs = 2; }`

/** TensorFlow's DataType numbers. */
export const DATA_TYPES = { float32: 1, int32: 3, bool: 10, resource: 20 } as const
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
  | { tensor: { dtype: number; tensor_shape: ShapeProto; tensor_content: Buffer } }

export interface GraphNode {
  name: string
  op: string
  /** `node`, `node:output`, or `^node` for "after". */
  input: string[]
  attr: Record<string, AttributeValue>
}

export function shapeProto(shape: readonly number[]): ShapeProto {
  return { dim: shape.map((size) => ({ size })) }
}

/** Where a signature's tensor is found in the graph. */
export interface SignatureTensor {
  name: string
  dtype: number
  shape: readonly number[]
}

/** A SavedModel file of one graph, tagged `serve`. */
export function encodeSavedModel(
  nodes: GraphNode[],
  inputs: Record<string, SignatureTensor>,
  outputs: Record<string, SignatureTensor>,
): Uint8Array {
  const info = (tensors: Record<string, SignatureTensor>) =>
    Object.fromEntries(
      Object.entries(tensors).map(([key, { name, dtype, shape }]) => [
        key,
        { name, dtype, tensor_shape: shapeProto(shape) },
      ]),
    )
  const signature = {
    inputs: info(inputs),
    outputs: info(outputs),
    method_name: 'tensorflow/serving/predict',
  }
  const graph = { node: nodes, versions: { producer: 2000 } }
  const type = protobuf.parse(SCHEMA, { keepCase: true }).root.lookupType('SavedModel')
  const message = type.fromObject({
    saved_model_schema_version: 1,
    meta_graphs: [
      {
        meta_info_def: { tags: ['serve'] },
        graph_def: graph,
        signature_def: { serving_default: signature },
      },
    ],
  })
  return type.encode(message).finish()
}
