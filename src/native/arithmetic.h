#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "products.h"

/** What stands between the products of a step: gates, attention of a few rows, norms, rotary tables, weighted sums. */

/** e^x, to the last bit or two (the polynomial is that of Cephes' expf); 0 below e^-87, infinite above e^88. */
template <class Vector> INLINED Vector exp_of(Vector given) {
  typedef typename Whole<Vector>::type Bits;
  constexpr float WHOLE = 12582912; // 1.5 * 2^23: added and taken away again, it leaves a whole number
  const Vector none = {};
  Vector x = given < -87.f ? none - 87.f : given;
  x = x > 88.f ? none + 88.f : x;
  const Vector shifted = x * 1.44269504f + WHOLE;
  const Vector powers = shifted - WHOLE;
  const Vector r = x - powers * 0.693359375f + powers * 2.12194440e-4f; // within ln(2) / 2, in two steps
  Vector sum = r * 1.9875691500e-4f + 1.3981999507e-3f;
  for (const float c : {8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) sum = sum * r + c;
  sum = sum * r * r + r + 1;
  Bits two_to_powers; // the low bits of `shifted` are the whole number
  std::memcpy(&two_to_powers, &shifted, sizeof(shifted));
  two_to_powers = (two_to_powers << 23) + (127 << 23);
  Vector scale;
  std::memcpy(&scale, &two_to_powers, sizeof(scale));
  const Vector result = given < -87.f ? none : sum * scale;
  return given > 88.f ? none + INFINITY : result;
}

/** The same for n numbers x, less `less`; returns their sum. */
INLINED float exp_all(float* x, int64_t n, float less) {
  Lanes sums = {};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    const Lanes power = exp_of(lanes(x + i) - less);
    put(x + i, power);
    sums += power;
  }
  float sum = sum_of(sums);
  for (; i < n; i++) sum += x[i] = std::exp(x[i] - less);
  return sum;
}

/** silu(gate) * up, silu(z) = z / (1 + e^-z), of n numbers. */
template <class Vector = Lanes> INLINED void gate_all(const float* gate, const float* up, float* y, int64_t n) {
  constexpr int64_t WIDTH = WIDTH_OF<Vector>;
  int64_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) {
    const Vector x = lanes<Vector>(gate + i);
    put(y + i, x / (1 + exp_of(-x)) * lanes<Vector>(up + i));
  }
  for (; i < n; i++) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

INLINED void gated_body(const float* gate, const float* up, float* y, int64_t n) { gate_all(gate, up, y, n); }
constexpr auto gated = for_every_processor<gated_body>;

/** What holds the channels between an expert's matrices within bounds, after a bias: gpt-oss. */
struct Clamp {
  float limit, alpha;
  const float *gate_bias, *up_bias;
};

/** g / (1 + e^(-alpha g)) * (u + 1) of n numbers; g is the gate, at most `limit`, and u is up, within plus and minus that. */
INLINED void clamped_body(const float* gate, const float* up, float* y, int64_t n, const Clamp& clamp) {
  const auto [limit, alpha, gate_bias, up_bias] = clamp;
  const Lanes most = Lanes{} + limit, least = -most;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    const Lanes open = lanes(gate + i) + lanes(gate_bias + i), given = lanes(up + i) + lanes(up_bias + i);
    const Lanes g = open > most ? most : open, below = given > most ? most : given, u = below < least ? least : below;
    put(y + i, g / (1 + exp_of(-alpha * g)) * (u + 1));
  }
  for (; i < n; i++) {
    const float open = gate[i] + gate_bias[i], given = up[i] + up_bias[i];
    const float g = open > limit ? limit : open, below = given > limit ? limit : given, u = below < -limit ? -limit : below;
    y[i] = g / (1 + std::exp(-alpha * g)) * (u + 1);
  }
}
constexpr auto clamped = for_every_processor<clamped_body>;

/** Adds mask to n scores and makes their softmax of them. */
INLINED void masked_softmax(float* scores, const float* mask, int64_t n) {
  Lanes most = {};
  most -= INFINITY;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    const Lanes score = lanes(scores + i) + lanes(mask + i);
    put(scores + i, score);
    most = score > most ? score : most;
  }
  float largest = -INFINITY;
  for (int64_t l = 0; l < LANES; l++) largest = std::max(largest, most[l]);
  for (; i < n; i++) largest = std::max(largest, scores[i] += mask[i]);
  const float share = 1 / exp_all(scores, n, largest);
  for (i = 0; i < n; i++) scores[i] *= share;
}

/**
 * Attention of rows q[r] [d] over keys and values [S, d] -> y[r] [width]; mask[r] [S] is added to the scores. Of values the first
 * `width` channels count: latent attention's are a part of its keys. A few rows take as long as
 * reading keys and values: a column that is hidden from all of them is not read.
 */
INLINED void attend_body(
  const float* const* q, const float* const* mask, float* const* y, int64_t rows, const float* keys, const float* values, int64_t S, int64_t d,
  int64_t width
) {
  constexpr float HIDDEN = -1e29f; // attention.ts masks with -1e30
  std::vector<int64_t> seen;
  for (int64_t s = 0; s < S; s++)
    for (int64_t r = 0; r < rows; r++)
      if (mask[r][s] > HIDDEN) {
        seen.push_back(s);
        break;
      }
  const int64_t n = seen.size();
  std::vector<float> scores(rows * n), added(rows * n), column(rows);
  for (int64_t i = 0; i < n; i++) {
    dot_products(keys + seen[i] * d, q, rows, d, column.data());
    for (int64_t r = 0; r < rows; r++) scores[r * n + i] = column[r], added[r * n + i] = mask[r][seen[i]];
  }
  for (int64_t r = 0; r < rows; r++) {
    std::memset(y[r], 0, width * sizeof(float));
    if (n > 0) masked_softmax(&scores[r * n], &added[r * n], n);
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t r = 0; r < rows; r++) add_rows<1>(&scores[r * n + i], values + seen[i] * d, y[r], 1, 1, width);
}
constexpr auto attend = for_every_processor<attend_body>;

/** `weight * x / sqrt(mean(x^2) + eps)` for rows of x [rows, D]. */
INLINED void rms_norm_body(const float* x, const float* weight, float* y, int64_t rows, int64_t D, float eps) {
  for (int64_t r = 0; r < rows; r++, x += D, y += D) {
    float squares;
    dot_products<1>(x, &x, D, &squares);
    const float scale = 1 / std::sqrt(squares / D + eps);
    for (int64_t i = 0; i < D; i++) y[i] = x[i] * scale * weight[i];
  }
}
constexpr auto rms_norm = for_every_processor<rms_norm_body>;

/** Turns the first `rotary` channels of a head x [d] as cos and sin [d] say: pairs (x_i, x_{i + rotary/2}). */
INLINED void rope_body(const float* x, const float* cos, const float* sin, float* y, int64_t heads, int64_t d, int64_t rotary) {
  const int64_t half = rotary / 2;
  for (int64_t head = 0; head < heads; head++, x += d, cos += d, sin += d, y += d) {
    for (int64_t i = 0; i < half; i++) y[i] = x[i] * cos[i] + x[i + half] * sin[i];
    for (int64_t i = half; i < rotary; i++) y[i] = x[i] * cos[i] + x[i - half] * sin[i];
    for (int64_t i = rotary; i < d; i++) y[i] = x[i] * (cos[i] + sin[i]);
  }
}
constexpr auto rope = for_every_processor<rope_body>;

/** What an expert made of a token: a column of its [D, columns], added to y [D] with a weight. */
struct Made {
  const float* at;
  int64_t columns;
  float* y;
  float weight;
};

/** Adds up all that was made, given in the order in which it lies in memory; the channels `from` to before `to`. */
INLINED void combine_body(const std::vector<Made>& made, int64_t from, int64_t to) {
  constexpr int64_t BLOCK = 16; // channels at once: a cache holds their rows of an expert's output until all columns are read
  for (int64_t begin = from; begin < to; begin += BLOCK) {
    const int64_t end = std::min(begin + BLOCK, to);
    for (const auto [at, columns, y, weight] : made)
      for (int64_t d = begin; d < end; d++) y[d] += weight * at[d * columns];
  }
}
constexpr auto combine = for_every_processor<combine_body>;
