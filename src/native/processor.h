#pragma once

/**
 * What the processor has, and the system lets programs use. Asked here, since compilers differ: Zig answers no to every
 * `__builtin_cpu_supports`, and so takes the slowest of `target_clones`.
 */
struct Processor {
  bool fma = false;
  bool avx512f = false;
};

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>

inline Processor ask_processor() {
  constexpr unsigned FMA = 1 << 12, XGETBV = 1 << 27, AVX512F = 1 << 16; // Intel's manual, CPUID: leaf 1 ECX, leaf 7 EBX
  constexpr unsigned YMM_KEPT = 0x6, ZMM_KEPT = 0xe6; // XCR0: registers that the system keeps when it changes threads
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & XGETBV)) return {};
  unsigned kept, high;
  __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  Processor has;
  has.fma = (c & FMA) && (kept & YMM_KEPT) == YMM_KEPT;
  has.avx512f = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & AVX512F) && (kept & ZMM_KEPT) == ZMM_KEPT;
  return has;
}
#define FMA_CODE __attribute__((target("fma")))
#define AVX512F_CODE __attribute__((target("avx512f")))
#else
inline Processor ask_processor() { return {}; }
#define FMA_CODE
#define AVX512F_CODE
#endif

inline const Processor PROCESSOR = ask_processor();

#define INLINED inline __attribute__((always_inline))

/** A function whose `Body`, an inlined one, is compiled for every kind of processor; the one for this processor is called. */
template <auto Body> struct ForEveryProcessor;
template <class... Given, void (*Body)(Given...)> struct ForEveryProcessor<Body> {
  FMA_CODE static void by_fma(Given... given) { Body(given...); }
  static void plain(Given... given) { Body(given...); }
  static void call(Given... given) { PROCESSOR.fma ? by_fma(given...) : plain(given...); }
};
template <auto Body> constexpr auto for_every_processor = ForEveryProcessor<Body>::call;
