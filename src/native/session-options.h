// Compiled before tfjs-node's own files: its sessions take no options, and what is set for the process holds for all of them.
// TensorFlow heeds a session's own number of threads when TF_OVERRIDE_GLOBAL_THREADPOOL is set.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <vector>
#include "tensorflow/c/c_api.h"

static inline TF_SessionOptions* tinymoe_session_options() {
  TF_SessionOptions* options = TF_NewSessionOptions();
  if (const char* digits = std::getenv("TINYMOE_SESSION_CONFIG")) {
    std::vector<unsigned char> config;
    for (unsigned byte; std::sscanf(digits, "%2x", &byte) == 1; digits += 2) config.push_back(byte);
    TF_Status* status = TF_NewStatus();
    TF_SetConfig(options, config.data(), config.size(), status);
    TF_DeleteStatus(status);
  }
  return options;
}
#define TF_NewSessionOptions tinymoe_session_options
