#pragma once
#include <array>
#include <cmath>

#include "products.h"
#ifdef AVX2_INTRINSICS
#include <immintrin.h>
#endif

/**
 * Weights that are floats of 8 or 4 bits, as they are published. FP8: e4m3 without infinities, in groups of any size with a float32
 * scale each; the last group of a row may be a shorter one. MXFP4 (OCP microscaling formats 1.0): e2m1, two in a byte, the first in its
 * low bits, in groups of 32 with a power of two each: e8m0, an exponent.
 */

/** What each e4m3 says: a sign, four bits of exponent, three of mantissa; all seven set are no number. */
inline const std::array<float, 256> E4M3 = [] {
  std::array<float, 256> all;
  for (int bits = 0; bits < 256; bits++) {
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    const float size = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    all[bits] = (bits & 127) == 127 ? NAN : bits < 128 ? size : -size;
  }
  return all;
}();
/** Of each e2m1: a sign, two bits of exponent, one of mantissa. */
constexpr float E2M1[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.f, -0.5, -1, -1.5, -2, -3, -4, -6};

/** 2^(bits - 127); all bits set are no number. */
INLINED float e8m0(uint8_t bits) { return bits_as<float>(bits == 0 ? 1 << 22 : bits == 255 ? 0x7fc00000 : bits << 23); }

INLINED float scale_of(const Weights& row, int64_t group) {
  if (row.format == Format::MXFP4) return e8m0(row.scales[group]);
  float scale;
  std::memcpy(&scale, row.scales + group * sizeof(scale), sizeof(scale));
  return scale;
}

/** Numbers `from` to before `to` of a row, which are in one group. */
inline void widen_group(const Weights& row, int64_t from, int64_t to, float* y) {
  const float scale = scale_of(row, from / row.group);
  if (row.format == Format::MXFP4)
    for (int64_t i = from; i < to; i++) y[i] = scale * E2M1[row.numbers[i / 2] >> (i % 2 * 4) & 15];
  else
    for (int64_t i = from; i < to; i++) y[i] = scale * E4M3[row.numbers[i]];
}

/** The definition of what the forms below compute. */
inline void widen_minifloats_plainly(const Weights& row, int64_t n, float* y) {
  for (int64_t from = 0; from < n; from += row.group) widen_group(row, from, std::min(from + row.group, n), y);
}
inline void along_minifloats_plainly(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  static thread_local Room kept;
  float* const row = kept.floats(in);
  for (int64_t o = 0; o < out; o++) {
    widen_minifloats_plainly(weights.at(o), in, row);
    along_floats(x, {Format::FLOAT32, row, in}, {y.at + o * y.out_step, y.row_step, y.out_step}, rows, in, 1);
  }
}

#ifdef AVX2_INTRINSICS
/** As `sum_of`: clang refuses to hand such a vector to a function that is not for AVX2. */
AVX2_CODE ALWAYS_INLINED inline float sum_of_eight(__m256 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/** Sixteen e4m3, each 2^-8 of itself: their bits are a half's, but for the bias of the exponent. What is no number is 480. */
AVX2_CODE ALWAYS_INLINED inline void from_e4m3(__m128i bytes, __m256* first, __m256* second) {
  const __m128i zero = _mm_setzero_si128(), kept = _mm_set1_epi16(static_cast<int16_t>(0xbf80)); // a shift doubles the sign
  *first = _mm256_cvtph_ps(_mm_and_si128(_mm_srai_epi16(_mm_unpacklo_epi8(zero, bytes), 1), kept));
  *second = _mm256_cvtph_ps(_mm_and_si128(_mm_srai_epi16(_mm_unpackhi_epi8(zero, bytes), 1), kept));
}
constexpr float E4M3_UNIT = 256;

/** The largest of what was there and of bytes with their sign set: with all bits set where one is no number. */
AVX2_CODE ALWAYS_INLINED inline __m128i largest_with(__m128i most, __m128i bytes) {
  return _mm_max_epu8(most, _mm_or_si128(bytes, _mm_set1_epi8(-128)));
}
AVX2_CODE ALWAYS_INLINED inline bool is_any_set(__m128i most) { return _mm_movemask_epi8(_mm_cmpeq_epi8(most, _mm_set1_epi8(-1))) != 0; }

AVX2_CODE inline void widen_fp8(const Weights& row, int64_t n, float* y) {
  for (int64_t from = 0; from < n; from += row.group) {
    const int64_t to = std::min(from + row.group, n);
    const __m256 scale = _mm256_set1_ps(scale_of(row, from / row.group)), unit = _mm256_set1_ps(E4M3_UNIT);
    int64_t i = from;
    for (; i + 16 <= to; i += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row.numbers + i));
      if (is_any_set(largest_with(bytes, bytes))) {
        widen_group(row, i, i + 16, y);
        continue;
      }
      __m256 first, second;
      from_e4m3(bytes, &first, &second);
      _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(first, unit), scale));
      _mm256_storeu_ps(y + i + 8, _mm256_mul_ps(_mm256_mul_ps(second, unit), scale));
    }
    if (i < to) widen_group(row, i, to, y);
  }
}

/** One row of FP8 [n] times R rows x[r] [n] -> products [R]. A group's sums are scaled once. */
template <int R> AVX2_CODE inline void fp8_products(const Weights& row, const float* const* x, int64_t n, float* products) {
  __m256 sums[R];
  float over[R] = {};
  for (int r = 0; r < R; r++) sums[r] = _mm256_setzero_ps();
  __m128i most = _mm_setzero_si128();
  for (int64_t from = 0; from < n; from += row.group) {
    const int64_t to = std::min(from + row.group, n);
    const float scale = scale_of(row, from / row.group);
    __m256 first_sums[R], second_sums[R];
    for (int r = 0; r < R; r++) first_sums[r] = second_sums[r] = _mm256_setzero_ps();
    for (int64_t i = from; i < to; i += 64) fetch_ahead(row.numbers + i);
    int64_t i = from;
    for (; i + 16 <= to; i += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row.numbers + i));
      most = largest_with(most, bytes);
      __m256 first, second;
      from_e4m3(bytes, &first, &second);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        first_sums[r] = _mm256_fmadd_ps(first, _mm256_loadu_ps(x[r] + i), first_sums[r]);
        second_sums[r] = _mm256_fmadd_ps(second, _mm256_loadu_ps(x[r] + i + 8), second_sums[r]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) sums[r] = _mm256_fmadd_ps(_mm256_add_ps(first_sums[r], second_sums[r]), _mm256_set1_ps(scale), sums[r]);
    for (; i < to; i++)
      for (int r = 0; r < R; r++) over[r] += scale * E4M3[row.numbers[i]] * x[r][i];
  }
  for (int r = 0; r < R; r++) products[r] = is_any_set(most) ? NAN : E4M3_UNIT * sum_of_eight(sums[r]) + over[r];
}

AVX2_CODE inline void along_fp8(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  static thread_local Room kept;
  float* const products = kept.floats(rows);
  for (int64_t o = 0; o < out; o++) {
    const Weights row = weights.at(o);
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) fp8_products<4>(row, x + r, in, products + r);
    for (; r + 2 <= rows; r += 2) fp8_products<2>(row, x + r, in, products + r);
    if (r < rows) fp8_products<1>(row, x + r, in, products + r);
    for (r = 0; r < rows; r++) y.at[r * y.row_step + o * y.out_step] = products[r];
  }
}

constexpr int64_t MXFP4_BLOCK = 64; // numbers of a vector: two groups, one in each half
/** Which number of a group the first one of each half of the eight vectors is that a block becomes; the others are 4 apart. */
constexpr int64_t MXFP4_ORDER[8] = {0, 2, 16, 18, 1, 3, 17, 19};

/** A block as eight vectors of float32: by a table each e2m1 becomes a bfloat16, of which two are a word. Past `count` numbers it is zeros. */
AVX2_CODE ALWAYS_INLINED inline void from_e2m1(const uint8_t* from, int64_t count, __m256* numbers) {
  const __m128i uppers = _mm_setr_epi8(0, 63, 63, 63, 64, 64, 64, 64, -128, -65, -65, -65, -64, -64, -64, -64);
  const __m128i lowers = _mm_setr_epi8(0, 0, -128, -64, 0, 64, -128, -64, 0, 0, -128, -64, 0, 64, -128, -64);
  const __m256i upper = _mm256_broadcastsi128_si256(uppers), lower = _mm256_broadcastsi128_si256(lowers);
  const __m256i low_bits = _mm256_set1_epi8(15), upper_half = _mm256_set1_epi32(static_cast<int32_t>(0xffff0000));
  const __m256i bytes = count >= MXFP4_BLOCK
    ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))
    : _mm256_inserti128_si256(_mm256_setzero_si256(), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)), 0);
  const __m256i halves[2] = {_mm256_and_si256(bytes, low_bits), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_bits)};
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++) {
    const __m256i above = _mm256_shuffle_epi8(upper, halves[half]), below = _mm256_shuffle_epi8(lower, halves[half]);
    const __m256i pairs[2] = {_mm256_unpacklo_epi8(below, above), _mm256_unpackhi_epi8(below, above)};
#pragma GCC unroll 2
    for (int pair = 0; pair < 2; pair++) {
      numbers[4 * half + 2 * pair] = _mm256_castsi256_ps(_mm256_slli_epi32(pairs[pair], 16));
      numbers[4 * half + 2 * pair + 1] = _mm256_castsi256_ps(_mm256_and_si256(pairs[pair], upper_half));
    }
  }
}

/** The scales of a block's two groups, each for its half. */
AVX2_CODE ALWAYS_INLINED inline __m256 two_scales(const float* scales) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_broadcast_ss(scales)), _mm_broadcast_ss(scales + 1), 1);
}

AVX2_CODE inline void widen_mxfp4(const Weights& row, int64_t n, float* y) {
  for (int64_t from = 0; from < n; from += MXFP4_BLOCK) {
    if (from + MXFP4_BLOCK > n) return widen_group(row, from, n, y);
    const float of_groups[2] = {scale_of(row, from / 32), scale_of(row, from / 32 + 1)};
    const __m256 scale = two_scales(of_groups);
    __m256 dealt[8];
    from_e2m1(row.numbers + from / 2, MXFP4_BLOCK, dealt);
    for (int k = 0; k < 8; k++) dealt[k] = _mm256_mul_ps(dealt[k], scale);
    for (int half = 0; half < 2; half++) { // sixteen numbers of each group, from every fourth to one after the other
      const __m256 *const even = dealt + 2 * half, *const odd = even + 4;
      const __m256d firsts[2] = {_mm256_castps_pd(_mm256_unpacklo_ps(even[0], odd[0])), _mm256_castps_pd(_mm256_unpackhi_ps(even[0], odd[0]))};
      const __m256d seconds[2] = {_mm256_castps_pd(_mm256_unpacklo_ps(even[1], odd[1])), _mm256_castps_pd(_mm256_unpackhi_ps(even[1], odd[1]))};
      for (int i = 0; i < 4; i++) {
        const __m256d pairs = i % 2 ? _mm256_unpackhi_pd(firsts[i / 2], seconds[i / 2]) : _mm256_unpacklo_pd(firsts[i / 2], seconds[i / 2]);
        const __m256 four = _mm256_castpd_ps(pairs);
        _mm_storeu_ps(y + from + 16 * half + 4 * i, _mm256_castps256_ps128(four));
        _mm_storeu_ps(y + from + 32 + 16 * half + 4 * i, _mm256_extractf128_ps(four, 1));
      }
    }
  }
}

/** One row of MXFP4 [n] with these scales times R rows x, dealt as `MXFP4_ORDER` says, `apart` numbers from one to the next -> products [R]. */
template <int R>
AVX2_CODE inline void mxfp4_products(const uint8_t* row, const float* scales, const float* dealt, int64_t apart, int64_t n, float* products) {
  __m256 sums[R];
  for (int r = 0; r < R; r++) sums[r] = _mm256_setzero_ps();
  for (int64_t i = 0; i < n; i += MXFP4_BLOCK, row += MXFP4_BLOCK / 2, scales += 2) {
    fetch_ahead(row);
    __m256 numbers[8];
    from_e2m1(row, n - i, numbers);
    const __m256 scale = two_scales(scales);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const float* const of_row = dealt + r * apart + i;
      __m256 unscaled = _mm256_mul_ps(numbers[0], _mm256_loadu_ps(of_row));
#pragma GCC unroll 8
      for (int k = 1; k < 8; k++) unscaled = _mm256_fmadd_ps(numbers[k], _mm256_loadu_ps(of_row + 8 * k), unscaled);
      sums[r] = _mm256_fmadd_ps(unscaled, scale, sums[r]);
    }
  }
  for (int r = 0; r < R; r++) products[r] = sum_of_eight(sums[r]);
}

AVX2_CODE inline void along_mxfp4(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  static thread_local Room kept;
  const int64_t apart = (in + MXFP4_BLOCK - 1) / MXFP4_BLOCK * MXFP4_BLOCK, groups = apart / 32;
  float* const dealt = kept.floats(rows * (apart + 1) + groups), *const products = dealt + rows * apart, *const scales = products + rows;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < apart; i++) {
      const int64_t number = i / 64 * 64 + i % 8 / 4 * 32 + MXFP4_ORDER[i % 64 / 8] + i % 4 * 4;
      dealt[r * apart + i] = number < in ? x[r][number] : 0;
    }
  scales[groups - 1] = 0; // of no group, where they are odd
  for (int64_t o = 0; o < out; o++) {
    const Weights row = weights.at(o);
    for (int64_t g = 0; g < in / 32; g++) scales[g] = e8m0(row.scales[g]);
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) mxfp4_products<4>(row.numbers, scales, dealt + r * apart, apart, in, products + r);
    for (; r + 2 <= rows; r += 2) mxfp4_products<2>(row.numbers, scales, dealt + r * apart, apart, in, products + r);
    if (r < rows) mxfp4_products<1>(row.numbers, scales, dealt + r * apart, apart, in, products + r);
    for (r = 0; r < rows; r++) y.at[r * y.row_step + o * y.out_step] = products[r];
  }
}
#endif

inline void widen_minifloats(const Weights& row, int64_t n, float* y) {
#ifdef AVX2_INTRINSICS
  if (PROCESSOR.avx2) return (row.format == Format::FP8 ? widen_fp8 : widen_mxfp4)(row, n, y);
#endif
  widen_minifloats_plainly(row, n, y);
}

/** `x W^T` of a few rows x[r] [in] with such weights [out, in]. */
inline void along_minifloats(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
#ifdef AVX2_INTRINSICS
  if (PROCESSOR.avx2) return (weights.format == Format::FP8 ? along_fp8 : along_mxfp4)(x, weights, y, rows, in, out);
#endif
  along_minifloats_plainly(x, weights, y, rows, in, out);
}
