// Compiled before tfjs-node's own files: what they call to reach Node goes through here first.
#pragma once
#include <node_api.h>
#include <vector>
#include "demand.h"
#include "session.h"
#include "signals.h"

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
    property.data = reinterpret_cast<void*>(property.method); // no function has data of its own
    property.method = tinymoe_undisturbed;
  }
  return napi_define_properties(env, object, count, properties.data());
}
#define napi_define_properties tinymoe_define_properties

/** Loading makes the first of TensorFlow's threads. */
#undef NAPI_MODULE
#define NAPI_MODULE(name, init)                                     \
  NAPI_MODULE_INIT() {                                              \
    const SignalsBlocked meanwhile;                                 \
    for (const auto& more : {tinymoe_session_functions(), tinymoe_demand_functions()}) \
      napi_define_properties(env, exports, more.size(), more.data()); \
    return init(env, exports);                                      \
  }
