/** By this a session that is being opened is told how many threads one op may use, 1 to 127. */
const OP_THREADS = 'TINYMOE_SESSION_OP_THREADS'

/**
 * Compiled into tfjs-node's addon, before its own files: its sessions take no options, and the number of threads an op uses
 * can else be set only once a process. TensorFlow heeds a session's own number when `TF_OVERRIDE_GLOBAL_THREADPOOL` is set.
 */
export const SESSION_OPTIONS_HEADER = `#pragma once
#include <cstdint>
#include <cstdlib>
#include "tensorflow/c/c_api.h"

static inline TF_SessionOptions* tinymoe_session_options() {
  TF_SessionOptions* options = TF_NewSessionOptions();
  if (const char* threads = std::getenv("${OP_THREADS}")) {
    // A ConfigProto with its second field, intra_op_parallelism_threads.
    const uint8_t config[] = {2 << 3, static_cast<uint8_t>(std::atoi(threads) & 127)};
    TF_Status* status = TF_NewStatus();
    TF_SetConfig(options, config, sizeof(config), status);
    TF_DeleteStatus(status);
  }
  return options;
}
#define TF_NewSessionOptions tinymoe_session_options
`

/** Opens a session whose ops use one thread each. An addon that was compiled without the header uses all, and is slower. */
export function withOneThreadAnOp<T>(open: () => T): T {
  process.env[OP_THREADS] = '1'
  try {
    return open()
  } finally {
    delete process.env[OP_THREADS]
  }
}
