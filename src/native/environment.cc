// An addon of its own, loaded before TensorFlow, whose options are environment variables read in C, some while it is loaded. In a
// worker thread `process.env` is a copy that C does not see.
#include <node_api.h>
#include <cstdlib>
#include <mutex>
#include <string>

namespace {

std::mutex one_at_a_time;

bool is_null(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  return type != napi_string;
}

std::string text_of(napi_env env, napi_value value) {
  size_t length = 0;
  napi_get_value_string_utf8(env, value, nullptr, 0, &length);
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, &text[0], length + 1, &length);
  return text;
}

/** `set(name: string, value: string | null): string | null`: gives the process's variable a value, or none, and returns what it had. */
napi_value set(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value given[2], before = nullptr;
  napi_get_cb_info(env, info, &count, given, nullptr, nullptr);
  const std::string name = text_of(env, given[0]), value = text_of(env, given[1]);
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  const char* const had = std::getenv(name.c_str());
  if (had) napi_create_string_utf8(env, had, NAPI_AUTO_LENGTH, &before);
  else napi_get_null(env, &before);
  if (is_null(env, given[1])) unsetenv(name.c_str());
  else if (!had || value != had) setenv(name.c_str(), value.c_str(), 1); // unchanged where TensorFlow may be reading it
  return before;
}

/** `claimThreads(threads: number): number`: what the first caller in the process gave. */
napi_value claim_threads(napi_env env, napi_callback_info info) {
  static int32_t threads = 0;
  size_t count = 1;
  napi_value given, result = nullptr;
  napi_get_cb_info(env, info, &count, &given, nullptr, nullptr);
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  if (threads == 0) napi_get_value_int32(env, given, &threads);
  napi_create_int32(env, threads, &result);
  return result;
}

}  // namespace

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
    {"set", nullptr, set, nullptr, nullptr, nullptr, napi_default, nullptr},
    {"claimThreads", nullptr, claim_threads, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_define_properties(env, exports, 2, functions);
  return exports;
}
