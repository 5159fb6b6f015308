import { setTimeout } from 'node:timers/promises'
import { packWeights } from '../../src/checkpoint/pack.ts'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { type LayerConfig, type ModelConfig, softmaxTopK } from '../../src/model/config.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { weightTable } from '../../src/model/weight-table.ts'
import { groupedAttention } from '../helpers/attention.ts'
import { randomModel } from '../helpers/random.ts'

/*
 * A program for sessions.test.ts: prints the bytes of a model's weights, how much more memory the process holds once the model is
 * loaded, has run as six graphs in two sessions, and has decoded, and how much when it is disposed of.
 */

await startRuntime({ device: 'cpu', threads: 2 })
const lengths = [1, 20, 40, 100, 3, 130]
const resident = async () => {
  for (let round = 0; round < 2; round++) {
    gc!()
    await setTimeout(100) // V8 frees what lay in buffers in a thread of its own
  }
  return process.memoryUsage().rss
}

/** A pass through all graphs, so that what a first run makes beside weights is there. */
function run(model: MoeModel): RecordedExecutor {
  const recorded = new RecordedExecutor(model)
  for (const length of lengths) recorded.greedy(new Array(length).fill(7), {})
  const cache = model.createCache()
  for (let step = 0; step < 200; step++) recorded.greedy([step % 40], { cache })
  return recorded
}

run(randomModel())
const before = await resident()
const layer: LayerConfig = {
  attention: groupedAttention({ numHeads: 8, numKeyValueHeads: 2, headDim: 64, slidingWindow: null }),
  feedForward: { kind: 'moe', intermediateSize: 1024, router: softmaxTopK(16, 2) },
}
const config: ModelConfig = { ...randomModel().config, hiddenSize: 512, layers: [layer, layer] }
let bytes = 0
const weights = packWeights(weightTable(config), (_, target) => {
  bytes += target.byteLength
  for (let i = 0; i < target.length; i++) target[i] = ((i * 16807) % 2048) / 1e5 - 0.01
})
const model = new MoeModel(config, weights)
const recorded = run(model)
const added = (await resident()) - before
recorded.dispose()
model.dispose()
console.log(JSON.stringify({ bytes, added, left: (await resident()) - before }))
