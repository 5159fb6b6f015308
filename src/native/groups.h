#pragma once
#include "integers.h"
#include "minifloats.h"

/** Products of a few rows with weights of 8 or 4 bits in groups. */

/** The scale of each word's group, for the words of the block that begins with number `i`. `SHARED`: words of a group, no more than a vector. */
template <class Vector, int64_t SHARED> INLINED Vector scales_of(const uint8_t* scales, int64_t i, int64_t group) {
  constexpr int64_t WORDS = WIDTH_OF<Vector>;
  Vector each = {};
  if (SHARED >= WORDS) return each + scale_at(scales, i / group);
  float of_group[WORDS / SHARED];
  for (int64_t g = 0; g < WORDS / SHARED; g++) of_group[g] = scale_at(scales, i / group + g);
  for (int64_t j = 0; j < WORDS; j++) each[j] = of_group[j / SHARED];
  return each;
}

/** One row of weights [n] times R dealt rows, `apart` numbers from one to the next -> products [R]. */
template <class Vector, int BITS, int64_t SHARED, int R>
INLINED void group_products(const Weights& row, const float* dealt, int64_t apart, int64_t n, float* products) {
  typedef typename Whole<Vector>::type Words;
  constexpr int64_t WORDS = WIDTH_OF<Vector>, P = 32 / BITS, BLOCK = WORDS * P;
  constexpr int32_t SIGNS = BITS == 8 ? 0x80808080 : 0x88888888; // turned over, numbers are in two's complement
  Vector sums[R] = {};
  int64_t i = 0;
  for (; i + BLOCK <= n; i += BLOCK) {
    fetch_ahead(row.numbers + i * BITS / 8);
    Words words;
    std::memcpy(&words, row.numbers + i * BITS / 8, sizeof(words));
    words ^= SIGNS;
    Vector unscaled[R] = {};
#pragma GCC unroll 8
    for (int64_t k = 0; k < P; k++) {
      const Vector w = __builtin_convertvector((words << (32 - BITS - BITS * k)) >> (32 - BITS), Vector);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) unscaled[r] += w * lanes<Vector>(dealt + r * apart + i + k * WORDS);
    }
    const Vector scale = scales_of<Vector, SHARED>(row.scales, i, row.group);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) sums[r] += unscaled[r] * scale;
  }
  for (int r = 0; r < R; r++) {
    products[r] = sum_of(sums[r]);
    for (int64_t k = i; k < n; k++)
      products[r] += scale_at(row.scales, k / row.group) * whole_at(row, k) * dealt[r * apart + k];
  }
}

template <class Vector, int BITS, int64_t SHARED> struct InGroups {
  template <int R> static INLINED void multiply(const Weights& row, const float* dealt, int64_t apart, int64_t n, float* products) {
    group_products<Vector, BITS, SHARED, R>(row, dealt, apart, n, products);
  }
};

template <class Vector, int BITS, int64_t SHARED>
INLINED void along_shared(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  along_dealt<Vector, 32 / BITS, InGroups<Vector, BITS, SHARED>>(x, weights, y, rows, in, out);
}

/** Groups are of 32, of 64 or of a multiple of 128. */
template <class Vector>
INLINED void along_words(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  constexpr int64_t WORDS = WIDTH_OF<Vector>;
  const int64_t shared = weights.group * weights.bits / 32; // words of a group
  if (weights.bits == 8)
    shared < WORDS ? along_shared<Vector, 8, 8>(x, weights, y, rows, in, out) : along_shared<Vector, 8, WORDS>(x, weights, y, rows, in, out);
  else if (shared == 4) along_shared<Vector, 4, 4>(x, weights, y, rows, in, out);
  else if (shared < WORDS) along_shared<Vector, 4, 8>(x, weights, y, rows, in, out);
  else along_shared<Vector, 4, WORDS>(x, weights, y, rows, in, out);
}

AVX512F_CODE inline void along_groups_wide(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  along_words<Wide>(x, weights, y, rows, in, out);
}
INLINED void along_groups_narrow_body(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  along_words<Lanes>(x, weights, y, rows, in, out);
}
constexpr auto along_groups_narrow = for_every_processor<along_groups_narrow_body>;

inline void along_groups(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
#ifdef VNNI_CODE
  if (PROCESSOR.vnni) return along_integers(x, weights, y, rows, in, out);
#endif
  (PROCESSOR.avx512f ? along_groups_wide : along_groups_narrow)(x, weights, y, rows, in, out);
}

/** `x W^T` of a few rows x[r] [in] with weights [out, in], however they are held. */
inline void along_rows(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  const bool wide = PROCESSOR.avx512f;
  if (weights.format == Format::FLOAT32) along_floats(x, weights, y, rows, in, out);
  else if (weights.format == Format::GROUPS) along_groups(x, weights, y, rows, in, out);
  else if (weights.is_minifloat()) along_minifloats(x, weights, y, rows, in, out);
  else (wide ? along_halves_wide : along_halves_narrow)(x, weights, y, rows, in, out);
}
