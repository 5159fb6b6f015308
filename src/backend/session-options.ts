/** By this a session that is being opened is told its options: a ConfigProto's bytes, two hexadecimal digits each. Read by src/native/session-options.h. */
const SESSION_CONFIG = 'TINYMOE_SESSION_CONFIG'

/** Opens a session with a ConfigProto. An addon that was compiled without the header ignores it, and is slower. */
export function withSessionConfig<T>(config: Uint8Array, open: () => T): T {
  process.env[SESSION_CONFIG] = Buffer.from(config).toString('hex')
  try {
    return open()
  } finally {
    delete process.env[SESSION_CONFIG]
  }
}
