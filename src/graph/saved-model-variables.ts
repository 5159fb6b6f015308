import * as tf from '@tensorflow/tfjs-core'
import type { ModelWeights } from '../model/weights.ts'
import {
  DATA_TYPES,
  type GraphDtype,
  type GraphNode,
  type Saver,
  shapeProto,
  type VariableInfo,
} from './protobuf.ts'
import { constant, type GraphVariable, type Recording } from './recorder.ts'
import { GraphBuilder, textConstant, type } from './saved-model-builder.ts'
import { GraphSession } from './session.ts'

/** The weights by what they are in the model: `blocks/0/feedForward/router/weight`. */
function weightNames(weights: ModelWeights): Map<object, string> {
  const names = new Map<object, string>()
  const visit = (value: unknown, path: string[]) => {
    if (value instanceof tf.Tensor) names.set(value.dataId, path.join('/'))
    else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
      for (const [key, entry] of Object.entries(value)) visit(entry, [...path, key])
    }
  }
  visit(weights, [])
  return names
}

/**
 * A recording whose variables have the weights' names, without the nodes by which a session is given their values.
 */
export function withNamedVariables(
  { nodes, variables }: Pick<Recording, 'nodes' | 'variables'>,
  weights: ModelWeights,
): { nodes: GraphNode[]; variables: GraphVariable[] } {
  const byTensor = weightNames(weights)
  const names = new Map(variables.map(({ name, tensor }) => [name, byTensor.get(tensor.dataId) ?? name]))
  const assigning = new Set(
    variables.flatMap(({ name }) => ['value', 'assign', 'assigned'].map((part) => `${name}/${part}`)),
  )
  const renamed = nodes
    .filter(({ name }) => !assigning.has(name))
    .map((node) => {
      const name = names.get(node.name)
      const input = node.input.map((ref) => names.get(ref) ?? ref)
      if (name === undefined) return { ...node, input }
      return { ...node, input, name, attr: { ...node.attr, shared_name: { s: Buffer.from(name) } } }
    })
  return {
    nodes: renamed,
    variables: variables.map(({ name, tensor }) => ({ name: names.get(name) as string, tensor })),
  }
}

/** The nodes by which TensorFlow saves and restores the variables, and what it has to know of them. */
export function saverOf(variables: GraphVariable[]): {
  nodes: GraphNode[]
  saver: Saver
  variables: VariableInfo[]
} {
  const graph = new GraphBuilder('save')
  const prefix = textConstant('save/filename', 'model')
  const shape = { shape: shapeProto([]) }
  graph.node('PlaceholderWithDefault', [prefix.name], { dtype: type('string'), shape }, 'save/Const')
  const names = textConstant(
    'save/tensor_names',
    variables.map(({ name }) => name),
  )
  const slices = textConstant(
    'save/slices',
    variables.map(() => ''),
  )
  const dtypes = {
    dtypes: { list: { type: variables.map(({ tensor }) => DATA_TYPES[tensor.dtype as GraphDtype]) } },
  }
  const infos = variables.map(({ name, tensor }) => {
    const dtype = { dtype: type(tensor.dtype as GraphDtype) }
    return {
      handle: name,
      initializer: `${name}/Assign`,
      read: graph.node('ReadVariableOp', [name], dtype, `${name}/Read`),
    }
  })
  const where = ['save/Const', names.name, slices.name]
  graph.node('SaveV2', [...where, ...infos.map(({ read }) => read)], dtypes, 'save/SaveV2')
  graph.node('Identity', ['save/Const', '^save/SaveV2'], { T: type('string') }, 'save/saved')
  graph.node('RestoreV2', where, dtypes, 'save/RestoreV2')
  variables.forEach(({ name, tensor }, i) => {
    const dtype = { dtype: type(tensor.dtype as GraphDtype) }
    graph.node('AssignVariableOp', [name, `save/RestoreV2:${i}`], dtype, infos[i].initializer)
  })
  graph.node(
    'NoOp',
    infos.map(({ initializer }) => `^${initializer}`),
    {},
    'save/restore_all',
  )
  return {
    nodes: [prefix, names, slices, ...graph.nodes],
    saver: { filenameTensor: 'save/Const', saveTensor: 'save/saved', restoreOp: 'save/restore_all' },
    variables: infos,
  }
}

/** Writes the variables as TensorFlow's checkpoint files `prefix.index` and `prefix.data-00000-of-00001`. */
export function saveVariables(variables: GraphVariable[], prefix: string): void {
  const graph = new GraphBuilder('write')
  const inputs = Object.fromEntries(variables.map(({ tensor }, i) => [`value_${i}`, tensor]))
  for (const [name, { dtype, shape }] of Object.entries(inputs)) {
    graph.node(
      'Placeholder',
      [],
      { dtype: type(dtype as GraphDtype), shape: { shape: shapeProto(shape) } },
      name,
    )
  }
  const texts = [
    textConstant('prefix', prefix),
    textConstant(
      'names',
      variables.map(({ name }) => name),
    ),
    textConstant(
      'slices',
      variables.map(() => ''),
    ),
  ]
  const dtypes = { list: { type: variables.map(({ tensor }) => DATA_TYPES[tensor.dtype as GraphDtype]) } }
  graph.node('SaveV2', [...texts.map(({ name }) => name), ...Object.keys(inputs)], { dtypes }, 'saved')
  const done = constant('done', 'int32', [], new Int32Array(1), ['^saved'])
  const session = new GraphSession({
    nodes: [...texts, ...graph.nodes, done],
    inputs,
    outputs: { done: { ref: 'done', shape: [], dtype: 'int32' } },
    products: [],
    variables: [],
  })
  try {
    tf.dispose(session.run(inputs, ['done']))
  } finally {
    session.dispose()
  }
}
