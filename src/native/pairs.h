#pragma once
#include "minifloats.h"
#include "panels.h"

/**
 * Products of many rows by the instruction that multiplies pairs of bfloat16 and adds both products to a float32 (AVX512_BF16): twice as
 * many as in float32. Rows x are rounded to bfloat16, once; weights are not: a pair of bfloat16 is broadcast as it lies in memory, and
 * of groups the numbers are multiplied, which are whole or have two bits and so are bfloat16, and the sum of a group is scaled. The
 * instruction takes a number below 2^-126 for zero. A panel is [pairs, 16].
 */

/** By how much of itself a number of x is off at most: to nearest, ties to even, with eight bits. So a product is off by this much of the sum of |x w|. */
constexpr float PAIRS_ROUNDING = 0x1p-8f;

INLINED int64_t pairs_of(int64_t in) { return (in + 1) / 2; }

/** Whether many rows are multiplied with such weights so. Tiles are faster, and round nothing. */
INLINED bool pairs_for(Format format) {
  return PROCESSOR.bf16 && !PROCESSOR.amx && (format == Format::BFLOAT16 || format == Format::GROUPS || format == Format::MXFP4);
}
INLINED bool pairs_for(const Weights& weights) { return pairs_for(weights.format); }

#ifdef BF16_CODE
/** Words of two numbers each, of the lower and the upper half. */
BF16_CODE ALWAYS_INLINED inline __m512i words_of(__m512 lower, __m512 upper) {
  const __m256i halves[2] = {reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(lower)), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(upper))};
  return _mm512_or_si512(_mm512_cvtepu16_epi32(halves[0]), _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves[1]), 16));
}

/** Rows x[r] [in] as panels [pairs, 16], filled up with zeros. */
BF16_CODE inline void to_pairs(const float* const* x, uint32_t* panels, int64_t rows, int64_t in) {
  constexpr int64_t BLOCK = 2 * PANEL; // numbers that are a square of 16 by 16 pairs
  alignas(64) float square[PANEL][PANEL], turned[PANEL * PANEL];
  const float* from[PANEL];
  for (int64_t r = 0; r < PANEL; r++) from[r] = square[r];
  const auto there = [](int64_t left) { return static_cast<__mmask16>(left >= 16 ? 0xffff : left > 0 ? (1 << left) - 1 : 0); };
  for (int64_t p = 0; p < panels_of(rows); p++, panels += pairs_of(in) * PANEL)
    for (int64_t i = 0; i < in; i += BLOCK) {
      for (int64_t r = 0; r < PANEL; r++) {
        const bool is_row = p * PANEL + r < rows;
        const float* const at = is_row ? x[p * PANEL + r] + i : square[r];
        const __m512 lower = _mm512_maskz_loadu_ps(is_row ? there(in - i) : 0, at), upper = _mm512_maskz_loadu_ps(is_row ? there(in - i - 16) : 0, at + 16);
        _mm512_store_si512(square[r], reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(upper, lower)));
      }
      turn(from, turned);
      std::memcpy(panels + i / 2 * PANEL, turned, std::min<int64_t>(PANEL, pairs_of(in - i)) * PANEL * sizeof(float));
    }
}

/** The whole numbers of a row of GROUPS with 8 bits as bfloat16. */
BF16_CODE inline void put_bytes(const uint8_t* from, int64_t n, uint32_t* to) {
  const __m512i bias = _mm512_set1_epi32(128);
  const auto sixteen = [&](const uint8_t* at) BF16_CODE ALWAYS_INLINED {
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))), bias));
  };
  for (int64_t i = 0; i < n; i += 32, to += 16)
    _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(sixteen(from + i + 16), sixteen(from + i))));
}

/** Numbers of 4 bits, each of which stands for one of 16. */
BF16_CODE inline void put_nibbles(const uint8_t* from, int64_t n, const float* numbers, uint32_t* to) {
  const __m512 all = _mm512_loadu_ps(numbers);
  const __m512i table = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(all, all)), nibbles = _mm512_set1_epi32(0x000f000f);
  for (int64_t i = 0; i < n; i += 32, to += 16) {
    const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i / 2)));
    const __m512i pairs = _mm512_and_si512(_mm512_or_si512(bytes, _mm512_slli_epi32(bytes, 12)), nibbles);
    _mm512_store_si512(to, _mm512_permutexvar_epi16(pairs, table));
  }
}

/** As `InFloats`, in pairs of bfloat16. */
struct InPairs {
  typedef uint32_t Word;
  /** Pairs of weights, and what each group's sum is multiplied with. */
  struct Row {
    const uint8_t* pairs;
    const float* scales;
    int64_t of_group; // pairs
  };
  static constexpr int R = 8, TOGETHER = 2;

  static int64_t panel_words(int64_t in) { return pairs_of(in) * PANEL; }

  static int64_t room_words(const Weights& weights, int64_t in) {
    const int64_t scales = weights.group > 0 ? in / weights.group : 0;
    return weights.format == Format::BFLOAT16 && in % 2 == 0 ? 0 : (pairs_of(in) + scales + 15) / 16 * 16;
  }

  BF16_CODE static Row row_of(const Weights& row, int64_t in, uint32_t* room) {
    if (row.format == Format::BFLOAT16) {
      if (in % 2 == 0) return {row.numbers, nullptr, 0};
      room[in / 2] = 0; // the number beside the last one is none of the row's
      std::memcpy(room, row.numbers, row.bytes(in));
      return {reinterpret_cast<const uint8_t*>(room), nullptr, 0};
    }
    static constexpr float WHOLE[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
    if (row.bits == 8) put_bytes(row.numbers, in, room);
    else put_nibbles(row.numbers, in, row.format == Format::MXFP4 ? E2M1 : WHOLE, room);
    float* const scales = reinterpret_cast<float*>(room + pairs_of(in));
    for (int64_t g = 0; g < in / row.group; g++) scales[g] = row.format == Format::MXFP4 ? scale_of(row, g) : scale_at(row.scales, g);
    return {reinterpret_cast<const uint8_t*>(room), scales, row.group / 2};
  }

  /** Adds pairs `from` to before `to` of R rows of weights times panels to sums. */
  template <int PANELS>
  BF16_CODE static ALWAYS_INLINED void add(const Row* weights, const uint32_t* x, int64_t apart, int64_t from, int64_t to, __m512 (*sums)[PANELS]) {
    for (int64_t i = from; i < to; i++) {
      __m512i of_x[PANELS];
      for (int p = 0; p < PANELS; p++) of_x[p] = _mm512_loadu_si512(x + p * apart + i * PANEL);
#pragma GCC unroll 12
      for (int r = 0; r < R; r++) {
        int32_t pair;
        std::memcpy(&pair, weights[r].pairs + 4 * i, sizeof(pair));
        const __m512i both = _mm512_set1_epi32(pair);
#pragma GCC unroll 4
        for (int p = 0; p < PANELS; p++) sums[r][p] = _mm512_dpbf16_ps(sums[r][p], reinterpret_cast<__m512bh>(of_x[p]), reinterpret_cast<__m512bh>(both));
      }
    }
  }

  /** R rows of weights [in] times panels -> products [PANELS, R, 16]. */
  template <int PANELS>
  BF16_CODE static void multiply(const Row* weights, const uint32_t* x, float (*products)[R][PANEL], int64_t in) {
    const int64_t apart = panel_words(in), pairs = pairs_of(in);
    __m512 sums[R][PANELS] = {};
    if (!weights[0].scales) add<PANELS>(weights, x, apart, 0, pairs, sums);
    else
      for (int64_t i = 0, group = 0; i < pairs; i += weights[0].of_group, group++) {
        __m512 unscaled[R][PANELS] = {};
        add<PANELS>(weights, x, apart, i, i + weights[0].of_group, unscaled);
        for (int r = 0; r < R; r++)
          for (int p = 0; p < PANELS; p++) sums[r][p] = _mm512_fmadd_ps(unscaled[r][p], _mm512_set1_ps(weights[r].scales[group]), sums[r][p]);
      }
    for (int r = 0; r < R; r++)
      for (int p = 0; p < PANELS; p++) _mm512_store_ps(products[p][r], sums[r][p]);
  }

  BF16_CODE static void put_gated(float (*products)[PANEL], int64_t count, uint32_t* to) {
    for (int64_t c = 0; c < count; c += 2, to += PANEL) {
      for (int64_t k = c; k < c + 2; k++)
        if (k < count) gate_all<Wide>(products[k], products[R / 2 + k], products[k], PANEL);
        else _mm512_store_ps(products[k], _mm512_setzero_ps());
      _mm512_store_si512(to, words_of(_mm512_load_ps(products[c]), _mm512_load_ps(products[c + 1])));
    }
  }
};

BF16_CODE inline void gated_pairs(
  const uint32_t* x, const Weights& gate_up, uint32_t* hidden, int64_t rows, int64_t D, Between part, int64_t from, int64_t to
) {
  gated_panels<InPairs>(x, gate_up, hidden, rows, D, part, from, to);
}
BF16_CODE inline void add_down_pairs(
  const uint32_t* hidden, const Weights& down, const float* weight, float* const* y, int64_t rows, Between part, int64_t from, int64_t to
) {
  add_down_panels<InPairs>(hidden, down, weight, y, rows, part, from, to);
}
BF16_CODE inline void along_pairs(const uint32_t* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t from, int64_t to) {
  put_panels<InPairs>(x, weights, y, rows, in, from, to);
}
#else // never called: no processor is known to have them
inline void to_pairs(const float* const*, uint32_t*, int64_t, int64_t) {}
inline void gated_pairs(const uint32_t*, const Weights&, uint32_t*, int64_t, int64_t, Between, int64_t, int64_t) {}
inline void add_down_pairs(const uint32_t*, const Weights&, const float*, float* const*, int64_t, Between, int64_t, int64_t) {}
inline void along_pairs(const uint32_t*, const Weights&, Products, int64_t, int64_t, int64_t, int64_t) {}
#endif
