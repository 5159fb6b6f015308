import { loadModel } from '../../src/load-model.ts'
import { logitsOf } from '../helpers/logits.ts'

/** Run as a program: a model's logits of one token and of two, of a directory, with so many threads. */
const [dir, threads] = process.argv.slice(2)
const model = await loadModel(dir, { device: 'cpu', threads: Number(threads) })
console.log(JSON.stringify([[7], [3, 11]].flatMap((tokens) => [...logitsOf(model.forward(tokens))])))
model.dispose()
