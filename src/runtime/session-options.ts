/** By this a session that is being opened is told its options: a ConfigProto's bytes, two hexadecimal digits each. */
const SESSION_CONFIG = 'TINYMOE_SESSION_CONFIG'

/**
 * Compiled into tfjs-node's addon, before its own files: its sessions take no options, and what is set for the process holds
 * for all of them. TensorFlow heeds a session's own number of threads when `TF_OVERRIDE_GLOBAL_THREADPOOL` is set.
 */
export const SESSION_OPTIONS_HEADER = `#pragma once
#include <cstdio>
#include <cstdlib>
#include <vector>
#include "tensorflow/c/c_api.h"

static inline TF_SessionOptions* tinymoe_session_options() {
  TF_SessionOptions* options = TF_NewSessionOptions();
  if (const char* digits = std::getenv("${SESSION_CONFIG}")) {
    std::vector<unsigned char> config;
    for (unsigned byte; std::sscanf(digits, "%2x", &byte) == 1; digits += 2) config.push_back(byte);
    TF_Status* status = TF_NewStatus();
    TF_SetConfig(options, config.data(), config.size(), status);
    TF_DeleteStatus(status);
  }
  return options;
}
#define TF_NewSessionOptions tinymoe_session_options
`

/** Opens a session with a ConfigProto. An addon that was compiled without the header ignores it, and is slower. */
export function withSessionConfig<T>(config: Uint8Array, open: () => T): T {
  process.env[SESSION_CONFIG] = Buffer.from(config).toString('hex')
  try {
    return open()
  } finally {
    delete process.env[SESSION_CONFIG]
  }
}
