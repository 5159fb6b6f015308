import * as tf from '@tensorflow/tfjs-core'

/** tfjs-node's backend with what src/native/binding.h adds: options of the sessions that this thread opens, a ConfigProto's bytes. */
interface ConfiguredBackend {
  binding: { setSessionConfig(config: Uint8Array): void }
}

/** Opens a session with a ConfigProto. */
export function withSessionConfig<T>(config: Uint8Array, open: () => T): T {
  const { binding } = tf.backend() as unknown as ConfiguredBackend
  binding.setSessionConfig(config)
  try {
    return open()
  } finally {
    binding.setSessionConfig(new Uint8Array())
  }
}
