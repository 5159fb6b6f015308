#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <thread>

/**
 * Threads that share one piece of work, as many as TensorFlow has for an op. A decoded token is some fifty pieces of 5 to 300
 * microseconds, and waking a thread takes 20; so after a piece they look out for the next one before they sleep.
 */
class Threads {
 public:
  static Threads& shared() {
    static auto* threads = new Threads(); // never destroyed: they outlive whatever ends the process
    return *threads;
  }

  int64_t count() const { return count_; }

  /** Calls `part(i)` for 0 <= i < parts, here and in the others, and returns when all are done. One that sleeps is not waited for. */
  template <class Part> void run(int64_t parts, const Part& part) { run(parts, true, part); }

  /** The same, or when not `shared` all of it here. */
  template <class Part> void run(int64_t parts, bool shared, const Part& part) {
    if (!shared || count_ == 1 || parts < 2 || parts > MOST_PARTS || !caller_.try_lock()) {
      for (int64_t i = 0; i < parts; i++) part(i);
      return;
    }
    part_ = &part;
    call_ = [](const void* of, int64_t i) { (*static_cast<const Part*>(of))(i); };
    unfinished_.store(parts, std::memory_order_relaxed);
    next_.store(parts << 16);
    if (sleeping_.load() > 0) {
      { std::lock_guard<std::mutex> between_look_and_sleep(sleep_); }
      wake_.notify_all();
    }
    take();
    for (int looks = 0; unfinished_.load(std::memory_order_acquire) > 0; looks++) {
      if (looks < 1000) pause();
      else std::this_thread::yield(); // the other one may be waiting for this processor
    }
    caller_.unlock();
  }

 private:
  static constexpr int64_t MOST_PARTS = 0xffff;
  static constexpr std::chrono::microseconds LOOK_OUT{100};

  Threads() {
    const char* count = std::getenv("TF_NUM_INTRAOP_THREADS");
    if (count) count_ = std::max(1, std::min(256, std::atoi(count)));
    for (int64_t i = 1; i < count_; i++) std::thread([this] { serve(); }).detach();
  }

  /** Whether a part is left: the upper bits say how many there are, the lower 16 which is next. */
  static bool open(uint64_t next) { return (next & MOST_PARTS) < next >> 16; }

  void take() {
    for (uint64_t next = next_.load(); open(next);) {
      if (!next_.compare_exchange_weak(next, next + 1)) continue;
      call_(part_, next & MOST_PARTS); // valid: the caller waits for every part that was taken
      unfinished_.fetch_sub(1, std::memory_order_release);
      next = next_.load();
    }
  }

  void serve() {
    for (;;) {
      const auto end = std::chrono::steady_clock::now() + LOOK_OUT;
      while (!open(next_.load(std::memory_order_acquire))) {
        for (int i = 0; i < 32; i++) pause();
        if (std::chrono::steady_clock::now() < end) continue;
        std::unique_lock<std::mutex> lock(sleep_);
        sleeping_++;
        wake_.wait(lock, [this] { return open(next_.load()); });
        sleeping_--;
      }
      take();
    }
  }

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  int64_t count_ = 1;
  std::mutex caller_, sleep_;
  std::condition_variable wake_;
  std::atomic<int> sleeping_{0};
  std::atomic<uint64_t> next_{0};
  std::atomic<int64_t> unfinished_{0};
  const void* part_ = nullptr;
  void (*call_)(const void*, int64_t) = nullptr;
};
