#pragma once
#include <node_api.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

/** Where other threads ask the one that is JavaScript's for something while it waits for a run. One at a time is served. */
class Desk {
 public:
  static Desk& of_this_thread();

  /** Calls `work` in the desk's thread and returns when that is done. */
  void ask(const std::function<void()>& work);

  void open();
  void close();
  /** Does what is asked for until it is closed. */
  void serve();

 private:
  std::mutex turn_, lock_;
  std::condition_variable changed_;
  const std::function<void()>* asked_ = nullptr;
  bool open_ = false;
};

/** Calls the JavaScript that demands of this number stand for with the indices, from any thread. Whether it succeeded. */
bool tinymoe_demand(int64_t of, const int32_t* indices, int64_t count);

/** The functions of demand.cc as the addon exports them. */
std::vector<napi_property_descriptor> tinymoe_demand_functions();
