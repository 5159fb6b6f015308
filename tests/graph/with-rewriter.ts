import { createRequire } from 'node:module'
import * as tf from '@tensorflow/tfjs-core'
import { startRuntime } from '../../src/device/index.ts'
import { readPrepared } from '../../src/device/prepared.ts'
import { planFor } from '../../src/graph/plan.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'

/*
 * TensorFlow is loaded by somebody else, with oneDNN's rewriting of graphs on (whoever starts this sets TF_ENABLE_ONEDNN_OPTS); then
 * graphs of few and of many rows are run. Prints how far they are from eager products.
 */

const { cpu, cuda } = await readPrepared()
createRequire(import.meta.url)(cpu.addon ?? cuda.addon!) // tinymoe's own setting comes too late then
await startRuntime({ device: 'cpu', threads: 2 })
const differences = [1, 5, 64].map((rows) =>
  tf.tidy(() => {
    const x = tf.randomUniform<tf.Rank.R2>([rows, 40])
    const [a, b] = [tf.randomUniform<tf.Rank.R2>([40, 30]), tf.randomUniform<tf.Rank.R2>([20, 30])]
    const f = () => tf.softmax(tf.matMul(tf.matMul(x, a), b, false, true))
    const plan = planFor({ rows })
    const session = new GraphSession(
      record({ x }, () => ({ y: f() }), plan),
      plan,
    )
    const [y] = session.run({ x }, ['y'])
    session.dispose()
    return tf.max(tf.abs(tf.sub(y, f()))).dataSync()[0]
  }),
)
console.log(JSON.stringify(differences))
