#pragma once
#include <vector>

#include "weights.h"

/**
 * What a decoded token is made of: products of a few rows, bound by the memory that the weights are read from. Each matrix is
 * read once, from front to back, in one stream: of several streams side by side the processor fetches half as much (docs/log.md).
 */

/**
 * One row of weights [n] times R rows x[r] [n] -> products [R]. Two sums each, so that none waits for the last; as many for every R,
 * so that equal rows have equal products, to the last bit.
 */
template <int R>
INLINED void dot_products(const float* weights, const float* const* x, int64_t n, float* products) {
  constexpr int ROUNDS = 2;
  Lanes sums[R][ROUNDS] = {};
  int64_t i = 0;
  for (; i + ROUNDS * LANES <= n; i += ROUNDS * LANES) {
    fetch_ahead(weights + i);
#pragma GCC unroll 4
    for (int j = 0; j < ROUNDS; j++) {
      const int64_t at = i + j * LANES;
      const Lanes w = lanes(weights + at);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) sums[r][j] += w * lanes(x[r] + at);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
    Lanes sum = sums[r][0];
#pragma GCC unroll 4
    for (int j = 1; j < ROUNDS; j++) sum += sums[r][j];
    float product = sum_of(sum);
    for (int64_t k = i; k < n; k++) product += weights[k] * x[r][k];
    products[r] = product;
  }
}

/** The same for any number of rows. */
INLINED void dot_products(const float* weights, const float* const* x, int64_t rows, int64_t n, float* products) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) dot_products<4>(weights, x + r, n, products + r);
  for (; r + 2 <= rows; r += 2) dot_products<2>(weights, x + r, n, products + r);
  if (r < rows) dot_products<1>(weights, x + r, n, products + r);
}

/** Where the products of rows and outputs go: that of row r and output o to at[r * row_step + o * out_step]. */
struct Products {
  float* at;
  int64_t row_step, out_step;
};

/** `x W^T`: rows x[r] [in], weights [out, in] of float32. */
INLINED void along_floats_body(const float* const* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
  std::vector<float> products(rows);
  for (int64_t o = 0; o < out; o++) {
    dot_products(weights.row<float>(o), x, rows, in, products.data());
    for (int64_t r = 0; r < rows; r++) y.at[r * y.row_step + o * y.out_step] = products[r];
  }
}
constexpr auto along_floats = for_every_processor<along_floats_body>;

/** y [rows, out] += R rows of weights [R, out] times the R numbers of each row that stand at x [rows, in]. */
template <int R>
INLINED void add_rows(const float* x, const float* weights, float* y, int64_t rows, int64_t in, int64_t out) {
  for (int64_t row = 0; row < rows; row++, x += in, y += out) {
    int64_t o = 0;
    for (; o + LANES <= out; o += LANES) {
      Lanes sum = lanes(y + o);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) sum += lanes(weights + r * out + o) * x[r];
      put(y + o, sum);
    }
    for (; o < out; o++)
      for (int r = 0; r < R; r++) y[o] += weights[r * out + o] * x[r];
  }
}

/** `x W`: x [rows, in], weights [in, out] -> y [rows, out], of the sums over `in` the part `from` to before `to`. */
INLINED void down_rows_body(
  const float* x, const float* weights, float* y, int64_t rows, int64_t in, int64_t out, int64_t from, int64_t to
) {
  constexpr int64_t MANY = 1024; // from here on the sums are too many to be fetched and stored for every row of weights
  std::memset(y, 0, rows * out * sizeof(float));
  int64_t i = from;
  if (out >= MANY)
    for (; i + 8 <= to; i += 8) add_rows<8>(x + i, weights + i * out, y, rows, in, out);
  for (; i < to; i++) add_rows<1>(x + i, weights + i * out, y, rows, in, out);
}
constexpr auto down_rows = for_every_processor<down_rows_body>;

