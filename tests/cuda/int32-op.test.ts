import * as tf from '@tensorflow/tfjs-core'
import { expect, test, vi } from 'vitest'
import { forEachStep } from './cases.ts'
import { checkGraph } from './check-graph.ts'
import { storedRegistrations } from './registrations.ts'

// The model with one op more: a sum of whole numbers, which TensorFlow computes in the host's memory.
vi.mock(import('../../src/model/router/tensors.ts'), async (original) => {
  const module = await original()
  return {
    ...module,
    routeTensors: (...args) => {
      const routing = module.routeTensors(...args)
      return { ...routing, expertIndices: tf.add(routing.expertIndices, tf.scalar(0, 'int32')) }
    },
  }
})

test('one op on int32 added to the router is found: the host waits for it, once a layer', async () => {
  await forEachStep([{ model: 'moe', dtype: 'float32', dispatch: 'auto', tokens: 1 }], (_, step) => {
    const { waits } = checkGraph(step, storedRegistrations())
    expect(waits).toEqual(new Array(4).fill('TopKV2 => Add'))
  })
})
