// Compiled before tfjs-node's own files: what they call to reach Node and TensorFlow goes through here first.
#pragma once
#include <node_api.h>
#include <vector>
#include "signals.h"
#include "tensorflow/c/c_api.h"

/** A ConfigProto for the sessions that this thread opens; empty: TensorFlow's own. */
inline thread_local std::vector<unsigned char> tinymoe_session_config;

/** TensorFlow heeds a session's own number of threads when TF_OVERRIDE_GLOBAL_THREADPOOL is set. */
static inline TF_SessionOptions* tinymoe_session_options() {
  TF_SessionOptions* options = TF_NewSessionOptions();
  if (!tinymoe_session_config.empty()) {
    TF_Status* status = TF_NewStatus();
    TF_SetConfig(options, tinymoe_session_config.data(), tinymoe_session_config.size(), status);
    TF_DeleteStatus(status);
  }
  return options;
}
#define TF_NewSessionOptions tinymoe_session_options

/** `setSessionConfig(bytes: Uint8Array)`: tfjs-node's call that opens a session takes no options. */
static inline napi_value tinymoe_set_session_config(napi_env env, napi_callback_info info) {
  size_t count = 1, length = 0;
  napi_value bytes = nullptr;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, &bytes, nullptr, nullptr);
  if (napi_get_typedarray_info(env, bytes, nullptr, &length, &data, nullptr, nullptr) != napi_ok)
    return napi_throw_type_error(env, nullptr, "setSessionConfig: expected a Uint8Array"), nullptr;
  const auto* from = static_cast<unsigned char*>(data);
  tinymoe_session_config.assign(from, from + length);
  return nullptr;
}

/** What a function of the binding is called as: no signal is handled in this thread before it returns. */
static inline napi_value tinymoe_undisturbed(napi_env env, napi_callback_info info) {
  void* function = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &function);
  const SignalsBlocked meanwhile;
  return reinterpret_cast<napi_callback>(function)(env, info);
}

static inline napi_status tinymoe_define_properties(
  napi_env env, napi_value object, size_t count, const napi_property_descriptor* given
) {
  std::vector<napi_property_descriptor> properties(given, given + count);
  for (auto& property : properties) {
    if (!property.method) continue;
    property.data = reinterpret_cast<void*>(property.method); // tfjs-node's functions have none
    property.method = tinymoe_undisturbed;
  }
  return napi_define_properties(env, object, count, properties.data());
}
#define napi_define_properties tinymoe_define_properties

/** Loading makes the first of TensorFlow's threads. */
#undef NAPI_MODULE
#define NAPI_MODULE(name, init)                                                                                \
  NAPI_MODULE_INIT() {                                                                                         \
    const SignalsBlocked meanwhile;                                                                            \
    const napi_property_descriptor more = {"setSessionConfig", nullptr, tinymoe_set_session_config, nullptr,   \
                                           nullptr, nullptr, napi_default, nullptr};                           \
    napi_define_properties(env, exports, 1, &more);                                                            \
    return init(env, exports);                                                                                 \
  }
