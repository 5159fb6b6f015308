#pragma once
#include "dealt.h"

/**
 * Products of a few rows with weights of 8 or 4 bits in groups, by the instructions for whole numbers (AVX-512 VNNI), which multiply four
 * numbers a word and add them up. Rows x become whole numbers of 24 bits, of a unit that suits the row's largest, as three digits of 8
 * bits each; so nothing is lost that a sum of float32 would keep.
 */
#ifdef VNNI_CODE
#include <cmath>
#include <immintrin.h>

constexpr int64_t DIGITS = 3;

/** A vector of words of weights, `BITS` each, and what x is beside it. */
template <int BITS> struct Integers {
  static constexpr int64_t BLOCK = 512 / BITS;    // numbers of a vector
  static constexpr int64_t HALVES = 8 / BITS;     // numbers of a byte: of 4 bits the first and the second have digits of their own
  static constexpr int BIAS = 1 << (BITS - 1);    // by which a stored number is more than it stands for
  static constexpr int64_t VECTORS = (HALVES + 1) * DIGITS; // of x: digits [halves, digits], and what makes up for the bias [digits]
};

/** n numbers of x, no more than a block, by `inverse` units, as a block's digits. */
template <int BITS> VNNI_CODE inline void put_digits(const float* x, int64_t n, float inverse, __m512i* to) {
  typedef Integers<BITS> Of;
  alignas(64) int8_t digits[DIGITS][Of::BLOCK];
  for (int64_t i = 0; i < Of::BLOCK; i += 16) {
    const __mmask16 there = n - i >= 16 ? 0xffff : n > i ? (1 << (n - i)) - 1 : 0;
    __m512i number = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(there, x + i), _mm512_set1_ps(inverse)));
    for (int64_t digit = 0; digit < DIGITS; digit++) { // the lowest 8 bits with their sign, and the rest without them
      _mm_store_si128(reinterpret_cast<__m128i*>(&digits[digit][i]), _mm512_cvtepi32_epi8(number));
      number = _mm512_srai_epi32(_mm512_add_epi32(number, _mm512_set1_epi32(128)), 8);
    }
  }
  for (int64_t digit = 0; digit < DIGITS; digit++) {
    __m512i sum = _mm512_setzero_si512();
    for (int64_t half = 0; half < Of::HALVES; half++) {
      __m512i all;
      if (Of::HALVES == 1) all = _mm512_load_si512(digits[digit]);
      else {
        __m256i parts[2];
        for (int part = 0; part < 2; part++)
          parts[part] = _mm512_cvtepi16_epi8(_mm512_srli_epi16(_mm512_load_si512(digits[digit] + 64 * part), half * 8));
        all = _mm512_inserti64x4(_mm512_castsi256_si512(parts[0]), parts[1], 1);
      }
      _mm512_store_si512(to + half * DIGITS + digit, all);
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(static_cast<char>(Of::BIAS)), all);
    }
    _mm512_store_si512(to + Of::HALVES * DIGITS + digit, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
  }
}

/** Rows x[r] [n] as blocks of digits, one row after the other; each one's unit. */
template <int BITS> VNNI_CODE inline void to_digits(const float* const* x, int64_t rows, int64_t n, __m512i* digits, float* units) {
  typedef Integers<BITS> Of;
  for (int64_t r = 0; r < rows; r++) {
    __m512 most = _mm512_setzero_ps(), sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
      const __m512 size = _mm512_abs_ps(_mm512_maskz_loadu_ps(n - i >= 16 ? 0xffff : (1 << (n - i)) - 1, x[r] + i));
      most = _mm512_max_ps(most, size);
      sum = _mm512_add_ps(sum, size);
    }
    const float all = _mm512_reduce_add_ps(sum);
    units[r] = std::max(_mm512_reduce_max_ps(most), 1e-30f) / (127 << 16);
    const float inverse = all - all == 0 ? 1 / units[r] : 0;
    if (inverse == 0) units[r] = NAN; // something is not finite
    for (int64_t i = 0; i < n; i += Of::BLOCK, digits += Of::VECTORS) put_digits<BITS>(x[r] + i, std::min(Of::BLOCK, n - i), inverse, digits);
  }
}

/** Of each quarter of a vector the two bytes of its scale, as the upper half of all its words. */
template <int SCALES> VNNI_CODE ALWAYS_INLINED inline __m512 scales_of_words(const uint8_t* scales, int64_t bytes) {
  const auto upper_half = [](int which) { return static_cast<int32_t>((0x0100u + 0x0202 * which) << 16 | 0x8080); };
  const __m512i pattern = _mm512_inserti64x4(
    _mm512_castsi256_si512(_mm256_set_m128i(_mm_set1_epi32(upper_half(SCALES / 4)), _mm_set1_epi32(upper_half(0)))),
    _mm256_set_m128i(_mm_set1_epi32(upper_half(SCALES - 1)), _mm_set1_epi32(upper_half(SCALES / 2))), 1
  );
  uint64_t all = 0;
  std::memcpy(&all, scales, bytes);
  return _mm512_castsi512_ps(_mm512_shuffle_epi8(_mm512_set1_epi64(all), pattern));
}

/** A vector of words, times its scales and a block's digits: added to the sums of their upper digit and of the two lower ones. */
template <int BITS> VNNI_CODE ALWAYS_INLINED inline void add_words(__m512i words, __m512 scale, const __m512i* digits, __m512& upper, __m512& lower) {
  typedef Integers<BITS> Of;
  __m512i halves[Of::HALVES];
  if (BITS == 8) halves[0] = words;
  else {
    const __m512i low = _mm512_set1_epi8(15);
    halves[0] = _mm512_and_si512(words, low);
    halves[Of::HALVES - 1] = _mm512_and_si512(_mm512_srli_epi16(words, 4), low);
  }
  const __m512i* const biases = digits + Of::HALVES * DIGITS;
  __m512i sums[DIGITS] = {_mm512_setzero_si512(), biases[1], biases[2]};
#pragma GCC unroll 3
  for (int digit = DIGITS - 1; digit >= 0; digit--) {
    if (digit == 0) sums[0] = _mm512_slli_epi32(sums[1], 8);
#pragma GCC unroll 2
    for (int half = 0; half < Of::HALVES; half++) sums[digit] = _mm512_dpbusd_epi32(sums[digit], halves[half], digits[half * DIGITS + digit]);
  }
  upper = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[2]), scale, upper);
  lower = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sums[0], biases[0])), scale, lower);
}

/**
 * W rows of weights [n], one after the other from `first` on, times R rows' digits, `apart` vectors from one to the next -> products
 * [W, R]. What is read of x serves all W. `SCALES` of a vector's words.
 */
template <int BITS, int SCALES, int W, int R>
VNNI_CODE ALWAYS_INLINED inline void integer_products(
  const Weights& first, const __m512i* digits, int64_t apart, const float* units, int64_t n, float* products
) {
  typedef Integers<BITS> Of;
  constexpr int64_t BYTES = SCALES * sizeof(BFloat16);
  __m512 upper[W][R], lower[W][R];
  for (int w = 0; w < W; w++)
    for (int r = 0; r < R; r++) upper[w][r] = lower[w][r] = _mm512_setzero_ps();
  LinesAhead ahead(first.numbers, W * first.row_bytes);
  const auto add = [&](const uint8_t* numbers, const uint8_t* scales, int64_t bytes, __mmask64 there) VNNI_CODE ALWAYS_INLINED {
#pragma GCC unroll 4
    for (int w = 0; w < W; w++, numbers += first.row_bytes, scales += first.row_bytes) {
      ahead.next();
      const __m512i words = there == ~__mmask64{0} ? _mm512_loadu_si512(numbers) : _mm512_maskz_loadu_epi8(there, numbers);
      const __m512 scale = scales_of_words<SCALES>(scales, bytes);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) add_words<BITS>(words, scale, digits + r * apart, upper[w][r], lower[w][r]);
    }
  };
  const uint8_t *numbers = first.numbers, *scales = first.scales;
  const int64_t blocks = n / Of::BLOCK, of_group = std::max<int64_t>(1, first.group / Of::BLOCK);
  int64_t left = of_group;
  for (int64_t i = 0; i < blocks; i++, numbers += 64, digits += Of::VECTORS) {
    add(numbers, scales, BYTES, ~__mmask64{0});
    if (--left > 0) continue;
    left = of_group;
    scales += BYTES;
  }
  if (const int64_t over = n % Of::BLOCK) add(numbers, scales, (over + first.group - 1) / first.group * 2, (uint64_t{1} << first.bytes(over)) - 1);
  ahead.rest();
#pragma GCC unroll 4
  for (int w = 0; w < W; w++)
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
      products[w * R + r] = units[r] * _mm512_reduce_add_ps(_mm512_fmadd_ps(upper[w][r], _mm512_set1_ps(65536), lower[w][r]));
}

/** W rows of weights from output `o` on, times all rows' digits. */
template <int BITS, int SCALES, int W>
VNNI_CODE ALWAYS_INLINED inline void put_integer_products(
  const Weights& weights, const __m512i* digits, int64_t apart, const float* units, Products y, int64_t rows, int64_t in, int64_t o
) {
  const Weights first = weights.at(o);
  float products[W * 4];
  int64_t r = 0;
  const auto put_all = [&](int64_t count) VNNI_CODE ALWAYS_INLINED {
    for (int64_t w = 0; w < W; w++)
      for (int64_t j = 0; j < count; j++) y.at[(r + j) * y.row_step + (o + w) * y.out_step] = products[w * count + j];
    r += count;
  };
  while (W == 1 && r + 4 <= rows) {
    integer_products<BITS, SCALES, 1, 4>(first, digits + r * apart, apart, units + r, in, products);
    put_all(4);
  }
  while (W == 1 && r + 2 <= rows) {
    integer_products<BITS, SCALES, 1, 2>(first, digits + r * apart, apart, units + r, in, products);
    put_all(2);
  }
  while (r < rows) {
    integer_products<BITS, SCALES, W, 1>(first, digits + r * apart, apart, units + r, in, products);
    put_all(1);
  }
}

template <int BITS, int SCALES>
VNNI_CODE inline void along_scaled(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  typedef Integers<BITS> Of;
  static thread_local Room kept;
  const int64_t apart = (in + Of::BLOCK - 1) / Of::BLOCK * Of::VECTORS;
  auto* const digits = reinterpret_cast<__m512i*>(kept.words(rows * (apart * 16 + 1)));
  float* const units = reinterpret_cast<float*>(digits + rows * apart);
  to_digits<BITS>(x, rows, in, digits, units);
  int64_t o = 0;
  if (rows == 1)
    for (; o + 4 <= out; o += 4) put_integer_products<BITS, SCALES, 4>(weights, digits, apart, units, y, rows, in, o);
  for (; o < out; o++) put_integer_products<BITS, SCALES, 1>(weights, digits, apart, units, y, rows, in, o);
}

inline void along_integers(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  const bool by_32 = weights.group == 32, by_64 = weights.group == 64;
  if (weights.bits == 8) (by_32 ? along_scaled<8, 2> : along_scaled<8, 1>)(x, weights, y, rows, in, out);
  else (by_32 ? along_scaled<4, 4> : by_64 ? along_scaled<4, 2> : along_scaled<4, 1>)(x, weights, y, rows, in, out);
}
#endif
