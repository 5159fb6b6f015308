#pragma once
#include <node_api.h>

#include <stdexcept>
#include <string>

namespace {

/** Bytes of JavaScript's. */
struct Bytes {
  void* data = nullptr;
  size_t length = 0;
};

void check(napi_status status, const char* expected) {
  if (status != napi_ok) throw std::runtime_error(std::string("expected ") + expected);
}

Bytes bytes_of(napi_env env, napi_value array) {
  Bytes bytes;
  napi_typedarray_type type;
  check(napi_get_typedarray_info(env, array, &type, &bytes.length, &bytes.data, nullptr, nullptr), "a typed array");
  if (type == napi_uint16_array || type == napi_int16_array) bytes.length *= 2;
  else if (type == napi_float32_array || type == napi_int32_array || type == napi_uint32_array) bytes.length *= 4;
  else if (type > napi_uint8_clamped_array) throw std::runtime_error("expected numbers of 8 to 32 bits");
  return bytes;
}

/** A function as Node calls it. */
template <napi_value (*f)(napi_env, const napi_value*)> napi_value called(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value given[4];
  napi_get_cb_info(env, info, &count, given, nullptr, nullptr);
  try {
    return f(env, given);
  } catch (const std::exception& error) {
    bool thrown = false; // by JavaScript that was called meanwhile
    napi_is_exception_pending(env, &thrown);
    if (!thrown) napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

template <napi_value (*f)(napi_env, const napi_value*)> napi_property_descriptor function(const char* name) {
  return {name, nullptr, called<f>, nullptr, nullptr, nullptr, napi_default, nullptr};
}

}  // namespace
