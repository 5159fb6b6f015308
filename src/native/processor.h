#pragma once

/**
 * What the processor has, and the system lets programs use. Asked here, since compilers differ: Zig answers no to every
 * `__builtin_cpu_supports`, and so takes the slowest of `target_clones`.
 */
struct Processor {
  bool avx2 = false; // and FMA with it
  bool avx512f = false;
};

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>

inline Processor ask_processor() {
  constexpr unsigned FMA = 1 << 12, XGETBV = 1 << 27, AVX2 = 1 << 5, AVX512F = 1 << 16; // Intel's manual, CPUID: leaf 1 ECX, leaf 7 EBX
  constexpr unsigned YMM_KEPT = 0x6, ZMM_KEPT = 0xe6; // XCR0: registers that the system keeps when it changes threads
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & XGETBV)) return {};
  unsigned kept, high;
  __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  Processor has;
  const bool fma = c & FMA;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return {};
  has.avx2 = fma && (b & AVX2) && (kept & YMM_KEPT) == YMM_KEPT;
  has.avx512f = has.avx2 && (b & AVX512F) && (kept & ZMM_KEPT) == ZMM_KEPT;
  return has;
}
#define AVX2_CODE __attribute__((target("avx2,fma")))
#define AVX512F_CODE __attribute__((target("avx512f,avx2,fma")))
#else
inline Processor ask_processor() { return {}; }
#define AVX2_CODE
#define AVX512F_CODE
#endif

inline Processor PROCESSOR = ask_processor(); // tests take features away

#define INLINED inline __attribute__((always_inline))

/** A function whose `Body`, an inlined one, is compiled for every kind of processor; the one for this processor is called. */
template <auto Body> struct ForEveryProcessor;
template <class... Given, void (*Body)(Given...)> struct ForEveryProcessor<Body> {
  AVX2_CODE static void by_avx2(Given... given) { Body(given...); }
  static void plain(Given... given) { Body(given...); }
  static void call(Given... given) { PROCESSOR.avx2 ? by_avx2(given...) : plain(given...); }
};
template <auto Body> constexpr auto for_every_processor = ForEveryProcessor<Body>::call;
