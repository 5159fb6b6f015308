#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

/**
 * What a decoded token is made of: products of a few rows, bound by the memory that the weights are read from. Each matrix is
 * read once, from front to back, in one stream: of several streams side by side the processor fetches half as much (docs/log.md).
 * A function is compiled once for every kind of processor, and chosen when the addon is loaded.
 */
#if defined(__x86_64__) && defined(__linux__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("fma", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif
#define INLINED inline __attribute__((always_inline))

/** Eight numbers that one instruction takes; wider ones read memory no faster. */
typedef float Lanes __attribute__((vector_size(32), aligned(4)));
constexpr int64_t LANES = 8;

INLINED const Lanes& lanes(const float* at) { return *reinterpret_cast<const Lanes*>(at); }
INLINED Lanes& lanes(float* at) { return *reinterpret_cast<Lanes*>(at); }

INLINED float sum_of(Lanes x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/** One row of weights [n] times R rows x[r] [n] -> products [R], added up in ROUNDS sums each, so that none waits for the last. */
template <int R, int ROUNDS>
INLINED void dot_products(const float* weights, const float* const* x, int64_t n, float* products) {
  Lanes sums[R][ROUNDS] = {};
  int64_t i = 0;
  for (; i + ROUNDS * LANES <= n; i += ROUNDS * LANES)
#pragma GCC unroll 4
    for (int j = 0; j < ROUNDS; j++) {
      const int64_t at = i + j * LANES;
      const Lanes w = lanes(weights + at);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) sums[r][j] += w * lanes(x[r] + at);
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
  for (; r + 4 <= rows; r += 4) dot_products<4, 2>(weights, x + r, n, products + r);
  for (; r + 2 <= rows; r += 2) dot_products<2, 4>(weights, x + r, n, products + r);
  if (r < rows) dot_products<1, 4>(weights, x + r, n, products + r);
}

/** `x W^T`: rows x[r] [in], weights [out, in] -> the product of row r and output o at y[r * row_step + o * out_step]. */
FOR_EVERY_PROCESSOR void along_rows(
  const float* const* x, const float* weights, float* y, int64_t rows, int64_t in, int64_t out, int64_t row_step, int64_t out_step
) {
  std::vector<float> products(rows);
  for (int64_t o = 0; o < out; o++, weights += in, y += out_step) {
    dot_products(weights, x, rows, in, products.data());
    for (int64_t r = 0; r < rows; r++) y[r * row_step] = products[r];
  }
}

/** y [rows, out] += R rows of weights [R, out] times the R numbers of each row that stand at x [rows, in]. */
template <int R>
INLINED void add_rows(const float* x, const float* weights, float* y, int64_t rows, int64_t in, int64_t out) {
  for (int64_t row = 0; row < rows; row++, x += in, y += out) {
    int64_t o = 0;
    for (; o + LANES <= out; o += LANES) {
      Lanes sum = lanes(y + o);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) sum += lanes(weights + r * out + o) * x[r];
      lanes(y + o) = sum;
    }
    for (; o < out; o++)
      for (int r = 0; r < R; r++) y[o] += weights[r * out + o] * x[r];
  }
}

/** `x W`: x [rows, in], weights [in, out] -> y [rows, out], of the sums over `in` the part `from` to before `to`. */
FOR_EVERY_PROCESSOR void down_rows(
  const float* x, const float* weights, float* y, int64_t rows, int64_t in, int64_t out, int64_t from, int64_t to
) {
  constexpr int64_t WIDE = 1024; // from here on the sums are too many to be fetched and stored for every row of weights
  std::memset(y, 0, rows * out * sizeof(float));
  int64_t i = from;
  if (out >= WIDE)
    for (; i + 8 <= to; i += 8) add_rows<8>(x + i, weights + i * out, y, rows, in, out);
  for (; i < to; i++) add_rows<1>(x + i, weights + i * out, y, rows, in, out);
}

/**
 * Attention of rows q[r] [d] over keys and values [S, d] -> y[r] [d]. mask[r] [S] is added to the scores; a column that it hides
 * from all rows is not read.
 */
FOR_EVERY_PROCESSOR void attend(
  const float* const* q, const float* const* mask, float* const* y, int64_t rows, const float* keys, const float* values, int64_t S, int64_t d
) {
  constexpr float HIDDEN = -1e29f; // attention.ts masks with -1e30
  std::vector<int64_t> seen;
  for (int64_t s = 0; s < S; s++)
    for (int64_t r = 0; r < rows; r++)
      if (mask[r][s] > HIDDEN) {
        seen.push_back(s);
        break;
      }
  std::vector<float> scores(seen.size() * rows), largest(rows, -INFINITY), sums(rows);
  float* score = scores.data();
  for (const int64_t s : seen) {
    dot_products(keys + s * d, q, rows, d, score);
    for (int64_t r = 0; r < rows; r++, score++) largest[r] = std::max(largest[r], *score += mask[r][s]);
  }
  for (int64_t r = 0; r < rows; r++) std::memset(y[r], 0, d * sizeof(float));
  score = scores.data();
  for (const int64_t s : seen)
    for (int64_t r = 0; r < rows; r++, score++) {
      const float share = std::exp(*score - largest[r]);
      sums[r] += share;
      add_rows<1>(&share, values + s * d, y[r], 1, 1, d);
    }
  for (int64_t r = 0; r < rows && !seen.empty(); r++)
    for (int64_t i = 0; i < d; i++) y[r][i] /= sums[r];
}

/** `weight * x / sqrt(mean(x^2) + eps)` for rows of x [rows, D]. */
FOR_EVERY_PROCESSOR void rms_norm(const float* x, const float* weight, float* y, int64_t rows, int64_t D, float eps) {
  for (int64_t r = 0; r < rows; r++, x += D, y += D) {
    float squares;
    dot_products<1, 4>(x, &x, D, &squares);
    const float scale = 1 / std::sqrt(squares / D + eps);
    for (int64_t i = 0; i < D; i++) y[i] = x[i] * scale * weight[i];
  }
}
