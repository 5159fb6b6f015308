#pragma once

/**
 * What the processor has, and the system lets programs use. Asked here, since compilers differ: Zig answers no to every
 * `__builtin_cpu_supports`, and so takes the slowest of `target_clones`.
 */
struct Processor {
  bool avx2 = false; // and FMA and F16C with it
  bool avx512f = false;
  bool vnni = false; // and the instructions for bytes with it
  bool bf16 = false; // and the instructions for pairs of bfloat16 with it
  bool amx = false; // tiles of bfloat16, and AVX-512 with them
};

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#if __has_include(<amxtileintrin.h>) || __has_include(<amxintrin.h>)
#define TILES // the assembler is young enough to know their instructions
#endif
#if __has_include(<avx512vnniintrin.h>)
#define VNNI_CODE __attribute__((target("avx512f,avx512bw,avx512vnni,avx2,fma")))
#endif
#if __has_include(<avx512bf16intrin.h>)
#define BF16_CODE __attribute__((target("avx512f,avx512bw,avx512bf16,avx2,fma")))
#endif

/** Linux gives a process the registers of tiles, 8 KB a thread, when it asks for them. */
inline bool may_use_tiles() {
  constexpr int REQUEST_PERMISSION = 0x1023, TILE_DATA = 18; // asm/prctl.h; XCR0's number of it
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

inline Processor ask_processor() {
  constexpr unsigned FMA = 1 << 12, XGETBV = 1 << 27, F16C = 1 << 29; // Intel's manual, CPUID: leaf 1 ECX
  constexpr unsigned AVX2 = 1 << 5, AVX512F = 1 << 16; // leaf 7 EBX
  constexpr unsigned AVX512BW = 1 << 30, VNNI = 1 << 11; // leaf 7 EBX, ECX
  constexpr unsigned BF16 = 1 << 5; // leaf 7, subleaf 1, EAX
  constexpr unsigned AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24; // leaf 7 EDX
  constexpr unsigned YMM_KEPT = 0x6, ZMM_KEPT = 0xe6, TILES_KEPT = 0x60000; // XCR0: registers that the system keeps when it changes threads
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & XGETBV)) return {};
  unsigned kept, high;
  __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  Processor has;
  const bool fma = (c & FMA) && (c & F16C);
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return {};
  has.avx2 = fma && (b & AVX2) && (kept & YMM_KEPT) == YMM_KEPT;
  has.avx512f = has.avx2 && (b & AVX512F) && (kept & ZMM_KEPT) == ZMM_KEPT;
#ifdef VNNI_CODE
  has.vnni = has.avx512f && (b & AVX512BW) && (c & VNNI);
#endif
#ifdef TILES
  has.amx = has.avx512f && (d & AMX_BF16) && (d & AMX_TILE) && (kept & TILES_KEPT) == TILES_KEPT && may_use_tiles();
#endif
#ifdef BF16_CODE
  has.bf16 = has.avx512f && (b & AVX512BW) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & BF16);
#endif
  return has;
}
#define AVX2_CODE __attribute__((target("avx2,fma,f16c")))
#define AVX2_INTRINSICS // code may name its instructions
#define AVX512F_CODE __attribute__((target("avx512f,avx2,fma")))
#else
inline Processor ask_processor() { return {}; }
#define AVX2_CODE
#define AVX512F_CODE
#endif

inline Processor PROCESSOR = ask_processor(); // tests take features away

#define ALWAYS_INLINED __attribute__((always_inline))
#define INLINED inline ALWAYS_INLINED

/** A function whose `Body`, an inlined one, is compiled for every kind of processor; the one for this processor is called. */
template <auto Body> struct ForEveryProcessor;
template <class... Given, void (*Body)(Given...)> struct ForEveryProcessor<Body> {
  AVX2_CODE static void by_avx2(Given... given) { Body(given...); }
  static void plain(Given... given) { Body(given...); }
  static void call(Given... given) { PROCESSOR.avx2 ? by_avx2(given...) : plain(given...); }
};
template <auto Body> constexpr auto for_every_processor = ForEveryProcessor<Body>::call;
