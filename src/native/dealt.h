#pragma once
#include "products.h"

/**
 * Products of a few rows with weights in fewer bits than a float32. Words of 32 bits are read as they lie in memory, a vector of them at
 * once: the k-th number of each is a vector of numbers, P = 32 / bits of which make a block. So rows are dealt first: of each block
 * the numbers that meet the k-th of all words stand side by side.
 */

/** Rows x[r] [n] with whole blocks dealt, and what is over as it is: [rows, n]. */
template <class Vector, int64_t P> INLINED void deal(const float* const* x, int64_t rows, int64_t n, float* dealt) {
  constexpr int64_t WORDS = WIDTH_OF<Vector>, BLOCK = WORDS * P;
  for (int64_t r = 0; r < rows; r++, dealt += n) {
    int64_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
      for (int64_t k = 0; k < P; k++)
        for (int64_t j = 0; j < WORDS; j++) dealt[i + k * WORDS + j] = x[r][i + j * P + k];
    for (; i < n; i++) dealt[i] = x[r][i];
  }
}

/** `x W^T` of a few rows with weights [out, in], where `Row::multiply<R>` gives the products of R dealt rows and one row of weights. */
template <class Vector, int64_t P, class Row>
INLINED void along_dealt(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  static thread_local Room kept;
  float* const dealt = kept.floats(rows * (in + 1)), *const products = dealt + rows * in;
  deal<Vector, P>(x, rows, in, dealt);
  for (int64_t o = 0; o < out; o++) {
    const Weights row = weights.at(o);
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) Row::template multiply<4>(row, dealt + r * in, in, in, &products[r]);
    for (; r + 2 <= rows; r += 2) Row::template multiply<2>(row, dealt + r * in, in, in, &products[r]);
    if (r < rows) Row::template multiply<1>(row, dealt + r * in, in, in, &products[r]);
    for (r = 0; r < rows; r++) y.at[r * y.row_step + o * y.out_step] = products[r];
  }
}

/** A row of halves: two sums, of the lower and of the upper halves of words, as many for every R, so that equal rows have equal products. */
template <class Vector, class Number> struct InHalves {
  template <int R> static INLINED void multiply(const Weights& row, const float* dealt, int64_t apart, int64_t n, float* products) {
    typedef typename Whole<Vector>::type Words;
    constexpr int64_t WORDS = WIDTH_OF<Vector>, BLOCK = 2 * WORDS;
    Vector lower[R] = {}, upper[R] = {};
    int64_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
      fetch_ahead(row.numbers + 2 * i);
      Words words;
      std::memcpy(&words, row.numbers + 2 * i, sizeof(words));
      const Vector low = low_of<Vector>(words, Number()), high = high_of<Vector>(words, Number());
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        lower[r] += low * lanes<Vector>(dealt + r * apart + i);
        upper[r] += high * lanes<Vector>(dealt + r * apart + i + WORDS);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      products[r] = sum_of(lower[r] + upper[r]);
      for (int64_t k = i; k < n; k++) products[r] += number(row.row<Number>(0) + k) * dealt[r * apart + k];
    }
  }
};

template <class Vector>
INLINED void along_halves(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  if (weights.format == Format::BFLOAT16) along_dealt<Vector, 2, InHalves<Vector, BFloat16>>(x, weights, y, rows, in, out);
  else along_dealt<Vector, 2, InHalves<Vector, Float16>>(x, weights, y, rows, in, out);
}
AVX512F_CODE inline void along_halves_wide(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  along_halves<Wide>(x, weights, y, rows, in, out);
}
INLINED void along_halves_narrow_body(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  along_halves<Lanes>(x, weights, y, rows, in, out);
}
constexpr auto along_halves_narrow = for_every_processor<along_halves_narrow_body>;
