import { MASKED } from '../model/attention/mask.ts'
import type { ModelConfig } from '../model/config.ts'
import { ropeFrequencies } from '../model/rope.ts'
import { shapeProto } from './protobuf.ts'
import { type GraphBuilder, type } from './saved-model-builder.ts'

/** Nodes that give the sizes of a call. */
export interface SizeNodes {
  batch: string
  tokens: string
  past: string
}

/**
 * What the engine prepares on the host for each call, as nodes: from `input_ids` [B, T] and, where given, `past_keys` and
 * `past_values` [L, B, Nk, S, d], the inputs of `recordServing`. Without a past S is 0.
 */
export function addInputs(graph: GraphBuilder, config: ModelConfig): SizeNodes {
  const { numKeyValueHeads: Nk, headDim: d } = config.layers[0].attention
  graph.node('Placeholder', [], { dtype: type('int32'), shape: { shape: shapeProto([-1, -1]) } }, 'input_ids')
  const [B, T] = graph.sizesOf('input_ids', 'int32', 2)
  graph.reshape('input_ids', 'int32', [-1], 'tokens')
  const shape = { shape: shapeProto([config.layers.length, -1, Nk, -1, d]) }
  for (const name of ['past_keys', 'past_values']) {
    const none = graph.node('Fill', [graph.vector([config.layers.length, B, Nk, 0, d]), graph.floats(0)], {
      T: type('float32'),
      index_type: type('int32'),
    })
    graph.node('PlaceholderWithDefault', [none], { dtype: type('float32'), shape }, name)
  }
  const S = graph.sizesOf('past_keys', 'float32', 5)[3]
  const end = graph.typed('AddV2', 'int32', S, T)
  const positions = graph.reshape(graph.range(S, end), 'int32', [-1, 1]) // [T, 1]
  addRope(graph, config, positions)
  addMask(graph, config, positions, end)
  return { batch: B, tokens: T, past: S }
}

/** `ropeValues` as nodes: the angle rounded to float32, its cosine and sine taken in double precision. */
function addRope(graph: GraphBuilder, config: ModelConfig, positions: string): void {
  const frequencies = ropeFrequencies(config.layers[0].attention.rope, config.layers[0].attention.headDim)
  const half = frequencies.length
  const angles = graph.typed(
    'Mul',
    'float32',
    graph.cast(positions, 'int32', 'float32'),
    graph.floats([...frequencies]),
  ) // [T, n/2]
  const exact = graph.cast(angles, 'float32', 'float64')
  const of = (op: string) => graph.cast(graph.typed(op, 'float64', exact), 'float64', 'float32')
  const cos = of('Cos')
  const sin = of('Sin')
  const shape = [1, -1, 1, 2 * half]
  graph.reshape(graph.concat([cos, cos], 'float32', 1), 'float32', shape, 'cos')
  graph.reshape(
    graph.concat([graph.typed('Neg', 'float32', sin), sin], 'float32', 1),
    'float32',
    shape,
    'sin',
  )
}

/** `maskValues` as nodes: a query sees the columns up to its own, and of those the last W with a sliding window. */
function addMask(
  graph: GraphBuilder,
  { layers: [{ attention }] }: ModelConfig,
  positions: string,
  end: string,
): void {
  const { numHeads, numKeyValueHeads, slidingWindow } = attention
  const columns = graph.range(graph.ints(0), end) // [S+T]
  const past = graph.typed('LessEqual', 'int32', columns, positions) // [T, S+T]
  // A window longer than an int32 hides nothing that an int32 can count.
  const near = slidingWindow !== null && slidingWindow < 2 ** 31
  const visible = near
    ? graph.node(
        'LogicalAnd',
        [
          past,
          graph.typed(
            'Less',
            'int32',
            graph.typed('Sub', 'int32', positions, columns),
            graph.ints(slidingWindow),
          ),
        ],
        {},
      )
    : past
  const mask = graph.node('SelectV2', [visible, graph.floats(0), graph.floats(MASKED)], {
    T: type('float32'),
  })
  const groups = graph.ints([numHeads / numKeyValueHeads, 1])
  const rows = graph.node('Tile', [mask, groups], { T: type('float32'), Tmultiples: type('int32') })
  graph.reshape(rows, 'float32', [1, 1, -1, end], 'mask')
}
