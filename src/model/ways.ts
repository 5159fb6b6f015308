/** Ways to run a model, by name. */

/** How a mixture layer runs its experts. */
export const DISPATCHES = ['dense', 'sparse', 'gather'] as const
export type DispatchName = (typeof DISPATCHES)[number]

/** `recorded`: the forward as a TensorFlow graph, made at its first run. `eager`: op by op. */
export const EXECUTORS = ['recorded', 'eager'] as const
export type Executor = (typeof EXECUTORS)[number]
