import { activeTensorflow } from './tensorflow.ts'

/** Opens a session with a ConfigProto's bytes, which are this thread's until it is open. */
export function withSessionConfig<T>(config: Uint8Array, open: () => T): T {
  const { binding } = activeTensorflow()
  binding.setSessionConfig(config)
  try {
    return open()
  } finally {
    binding.setSessionConfig(new Uint8Array())
  }
}
