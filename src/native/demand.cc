// What a graph needs of JavaScript while it runs: weights that are read into memory when they are known to be used. The memory is
// reserved as a whole, and takes room only where it has been filled.
#include "demand.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <thread>

#include "javascript.h"

Desk& Desk::of_this_thread() {
  static thread_local Desk desk;
  return desk;
}

void Desk::ask(const std::function<void()>& work) {
  const std::lock_guard<std::mutex> one_at_a_time(turn_);
  std::unique_lock<std::mutex> lock(lock_);
  asked_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !asked_; });
}

void Desk::open() {
  open_ = true;
}

void Desk::close() {
  const std::lock_guard<std::mutex> lock(lock_);
  open_ = false;
  changed_.notify_all();
}

void Desk::serve() {
  std::unique_lock<std::mutex> lock(lock_);
  for (;;) {
    changed_.wait(lock, [&] { return asked_ || !open_; });
    if (!asked_) return;
    (*asked_)();
    asked_ = nullptr;
    changed_.notify_all();
  }
}

namespace {

/** A function of JavaScript's, and the thread that may call it. */
struct Supplier {
  napi_env env;
  napi_ref function;
  std::thread::id thread;
  Desk* desk;

  bool call(const int32_t* indices, int64_t count) const {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (pending) return false; // of the call before
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
    const bool done = call_in_scope(indices, count);
    napi_close_handle_scope(env, scope);
    return done;
  }

  /** Nothing can be made, and there is no room to write to, once the thread is being ended. */
  bool call_in_scope(const int32_t* indices, int64_t count) const {
    napi_value buffer, given, self, supply;
    void* to = nullptr;
    if (napi_create_arraybuffer(env, count * sizeof(int32_t), &to, &buffer) != napi_ok) return false;
    if (count > 0) std::memcpy(to, indices, count * sizeof(int32_t));
    return napi_create_typedarray(env, napi_int32_array, count, buffer, 0, &given) == napi_ok &&
           napi_get_global(env, &self) == napi_ok && napi_get_reference_value(env, function, &supply) == napi_ok &&
           napi_call_function(env, self, supply, 1, &given, nullptr) == napi_ok;
  }
};

/** Of all threads that run JavaScript. */
struct Suppliers {
  std::mutex lock;
  std::map<int64_t, Supplier> by_number;
  int64_t last = 0;
};

Suppliers& suppliers() {
  static auto* all = new Suppliers(); // never destroyed, as threads may outlive what ends the process
  return *all;
}

/** `addSupplier(supply: (indices: Int32Array) => void): number`: what TinymoeDemand nodes call it by. */
napi_value add_supplier(napi_env env, const napi_value* given) {
  Supplier supplier{env, nullptr, std::this_thread::get_id(), &Desk::of_this_thread()};
  check(napi_create_reference(env, given[0], 1, &supplier.function), "a function");
  Suppliers& all = suppliers();
  const std::lock_guard<std::mutex> lock(all.lock);
  all.by_number.emplace(++all.last, supplier);
  napi_value number;
  napi_create_int64(env, all.last, &number);
  return number;
}

/** `removeSupplier(number)` */
napi_value remove_supplier(napi_env env, const napi_value* given) {
  int64_t number = 0;
  check(napi_get_value_int64(env, given[0], &number), "a supplier's number");
  Suppliers& all = suppliers();
  const std::lock_guard<std::mutex> lock(all.lock);
  const auto found = all.by_number.find(number);
  if (found == all.by_number.end()) return nullptr;
  napi_delete_reference(env, found->second.function);
  all.by_number.erase(found);
  return nullptr;
}

/** `reserveMemory(bytes: number): ArrayBuffer`, zeros that take no room until they are written to. */
napi_value reserve_memory(napi_env env, const napi_value* given) {
  int64_t bytes = 0;
  check(napi_get_value_int64(env, given[0], &bytes), "a number of bytes");
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::runtime_error("memory: " + std::to_string(bytes) + " bytes cannot be reserved: " + std::strerror(errno));
  }
#ifdef MADV_NOHUGEPAGE
  madvise(memory, bytes, MADV_NOHUGEPAGE); // a huge page would fill what is beside an expert, too
#endif
  napi_value buffer;
  const auto free = [](napi_env, void* data, void* size) { munmap(data, reinterpret_cast<size_t>(size)); };
  const napi_status made =
      napi_create_external_arraybuffer(env, memory, bytes, free, reinterpret_cast<void*>(bytes), &buffer);
  if (made != napi_ok) {
    if (made == napi_no_external_buffers_allowed) munmap(memory, bytes); // of all other faults Node has freed it
    throw std::runtime_error("memory: Node takes no array of " + std::to_string(bytes) + " bytes");
  }
  return buffer;
}

/** The pages that lie within a part of what was reserved. */
Bytes pages_within(const Bytes& part) {
  const uintptr_t page = sysconf(_SC_PAGESIZE), begin = reinterpret_cast<uintptr_t>(part.data);
  const uintptr_t from = (begin + page - 1) / page * page, to = (begin + part.length) / page * page;
  return {reinterpret_cast<void*>(from), to > from ? to - from : 0};
}

/** `claimMemory(part: Uint8Array)`: makes room for a part that is about to be written to, which is faster than page by page. */
napi_value claim_memory(napi_env env, const napi_value* given) {
#ifdef MADV_POPULATE_WRITE
  const Bytes pages = pages_within(bytes_of(env, given[0]));
  if (pages.length > 0) madvise(pages.data, pages.length, MADV_POPULATE_WRITE); // older systems do without
#endif
  return nullptr;
}

/** `forgetMemory(part: Uint8Array)`: gives back the whole pages of a part; they are zeros again. */
napi_value forget_memory(napi_env env, const napi_value* given) {
  const Bytes pages = pages_within(bytes_of(env, given[0]));
  if (pages.length == 0) return nullptr;
#ifdef __linux__
  madvise(pages.data, pages.length, MADV_DONTNEED);
#else
  mmap(pages.data, pages.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
#endif
  return nullptr;
}

}  // namespace

bool tinymoe_demand(int64_t of, const int32_t* indices, int64_t count) {
  Supplier supplier{};
  {
    Suppliers& all = suppliers();
    const std::lock_guard<std::mutex> lock(all.lock);
    const auto found = all.by_number.find(of);
    if (found == all.by_number.end()) return false;
    supplier = found->second;
  }
  if (supplier.thread == std::this_thread::get_id()) return supplier.call(indices, count);
  bool done = false;
  supplier.desk->ask([&] { done = supplier.call(indices, count); });
  return done;
}

std::vector<napi_property_descriptor> tinymoe_demand_functions() {
  return {
    function<add_supplier>("addSupplier"),
    function<remove_supplier>("removeSupplier"),
    function<reserve_memory>("reserveMemory"),
    function<claim_memory>("claimMemory"),
    function<forget_memory>("forgetMemory"),
  };
}
