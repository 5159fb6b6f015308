// Products of many rows in pairs of bfloat16 against their definition, and against float32.
#pragma once
#include "expect.h"
#include "pairs.h"

namespace {

/** The definition of how rows are rounded where they are multiplied in pairs: to nearest of eight bits, ties to even; below 2^-126 to zero. */
float rounded_plainly(float x) {
  if (!std::isfinite(x)) return x;
  if (std::abs(x) < 0x1p-126f) return std::copysign(0.f, x);
  int exponent;
  const double digits = std::frexp(static_cast<double>(x), &exponent);
  return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(digits, 8)), exponent - 8)); // infinite, if above all bfloat16
}

std::vector<float> rounded_plainly(std::vector<float> numbers) {
  for (float& number : numbers) number = rounded_plainly(number);
  return numbers;
}

/** Number i of row r of panels [pairs, 16]. */
float number_in(const uint32_t* panels, int64_t r, int64_t i, int64_t in) {
  const uint32_t pair = panels[r / PANEL * pairs_of(in) * PANEL + i / 2 * PANEL + r % PANEL];
  return bits_as<float>(i % 2 ? pair & 0xffff0000 : pair << 16);
}

/** Rows of any numbers become pairs of bfloat16, and what is over zeros. */
void test_rounding(const std::string& processor) {
  for (int round = 0; round < 20; round++) {
    const int64_t rows = random_size(1, 40), in = random_size(1, 100), panels = panels_of(rows);
    std::vector<float> x(rows * in);
    for (float& number : x) number = bits_as<float>(static_cast<uint32_t>(generator()) & (random_size(0, 3) ? 0xffffffff : 0xffff8000)); // many ties
    Room room;
    uint32_t* const pairs = room.words(panels * PANEL * pairs_of(in));
    to_pairs(rows_of(x, rows, in).data(), pairs, rows, in);
    for (int64_t r = 0; r < panels * PANEL; r++)
      for (int64_t i = 0; i < 2 * pairs_of(in); i++) {
        const float expected = r < rows && i < in ? rounded_plainly(x[r * in + i]) : 0, actual = number_in(pairs, r, i, in);
        const bool same = std::isnan(expected) ? std::isnan(actual) : bits_as<uint32_t>(actual) == bits_as<uint32_t>(expected);
        if (!same) expect_near(actual, expected, 0, processor + ", a number rounded");
      }
  }
}

/** Many rows in pairs, the outputs in two parts: near the products of rounded rows, and as near as is said to those of rows as they are. */
void test_along_pairs(const Held& held, int64_t in, int64_t out, int64_t rows, const std::string& what) {
  const auto x = random_numbers(rows * in);
  Room room;
  uint32_t* const pairs = room.words(panels_of(rows) * PANEL * pairs_of(in));
  to_pairs(rows_of(x, rows, in).data(), pairs, rows, in);
  std::vector<float> y(rows * out), alone(out);
  for (const auto [from, to] : {std::pair{int64_t{0}, out / 3}, {out / 3, out}})
    along_pairs(pairs, held.weights, {y.data(), 1, rows}, rows, in, from, to);
  expect_products({y.data(), 1, rows}, rounded_plainly(x), held, rows, in, out, what + ", rows in pairs");
  expect_products({y.data(), 1, rows}, x, held, rows, in, out, what + ", rows in pairs beside float32", PAIRS_ROUNDING);
  const float* const last = &x[(rows - 1) * in];
  to_pairs(&last, pairs, 1, in);
  along_pairs(pairs, held.weights, {alone.data(), out, 1}, 1, in, 0, out);
  for (int64_t o = 0; o < out; o++)
    if (alone[o] != y[o * rows + rows - 1]) expect_near(1, 0, 0, what + ", in pairs beside others");
}

double silu(double z) { return z / (1 + std::exp(-z)); }

/**
 * An expert's halves by pairs, in two parts of its channels. What is between them is near that of rounded rows, but for its own
 * rounding, and as near as follows to that of float32; what comes out is its product.
 */
void test_expert_in_pairs(const Held& gate_up, const Held& down, int64_t D, int64_t H, int64_t rows, const std::string& what) {
  const auto x = random_numbers(rows * D), rounded = rounded_plainly(x), weight = random_numbers(rows);
  std::vector<double> y(rows * D), exact(rows * D), magnitudes(rows * D), bounds(rows * D);
  std::vector<float> made(rows * D);
  std::vector<float*> to;
  for (int64_t r = 0; r < rows; r++) to.push_back(&made[r * D]);
  Room of_x, of_hidden;
  uint32_t* const pairs = of_x.words(panels_of(rows) * PANEL * pairs_of(D));
  to_pairs(rows_of(x, rows, D).data(), pairs, rows, D);
  const int64_t unit = down.weights.cut(), middle = H / 2 / unit * unit;
  for (const auto [begin, end] : {std::pair{int64_t{0}, middle}, {middle, H}}) {
    const Between part{H, begin, end};
    uint32_t* const hidden = of_hidden.words(panels_of(rows) * PANEL * pairs_of(part.size()));
    const int64_t cut = begin + (end - begin) / 4 * 2;
    gated_pairs(pairs, gate_up.weights, hidden, rows, D, part, begin, cut);
    gated_pairs(pairs, gate_up.weights, hidden, rows, D, part, cut, end);
    add_down_pairs(hidden, down.weights, weight.data(), to.data(), rows, part, 0, D / 2);
    add_down_pairs(hidden, down.weights, weight.data(), to.data(), rows, part, D / 2, D);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t h = begin; h < end; h++) {
        double gate = 0, up = 0, exact_gate = 0, exact_up = 0, of_gate = 0, of_up = 0;
        for (int64_t i = 0; i < D; i++) {
          const double g = gate_up.numbers[h * D + i], u = gate_up.numbers[(H + h) * D + i];
          gate += rounded[r * D + i] * g, up += rounded[r * D + i] * u;
          exact_gate += x[r * D + i] * g, exact_up += x[r * D + i] * u;
          of_gate += std::abs(x[r * D + i] * g), of_up += std::abs(x[r * D + i] * u);
        }
        const double between = number_in(hidden, r, h - begin, part.size()), expected = silu(gate) * up;
        constexpr double STEEPEST = 1.1; // silu's slope at most
        const double moved = STEEPEST * of_gate * (std::abs(exact_up) + PAIRS_ROUNDING * of_up) + std::abs(silu(exact_gate)) * of_up;
        expect_within(PAIRS_ROUNDING * std::abs(expected) + 1e-5 * moved + 1e-6, between, expected, what + ", in pairs, between");
        for (int64_t d = 0; d < D; d++) {
          const double w = down.numbers[d * H + h] * weight[r];
          y[r * D + d] += between * w;
          magnitudes[r * D + d] += std::abs(between * w);
          exact[r * D + d] += silu(exact_gate) * exact_up * w;
          bounds[r * D + d] += PAIRS_ROUNDING * (moved + std::abs(between)) * std::abs(w);
        }
      }
  }
  for (int64_t i = 0; i < rows * D; i++) {
    expect_near(made[i], y[i], magnitudes[i], what + ", down in pairs");
    expect_within(1.01 * bounds[i] + 1e-4 * magnitudes[i] + 1e-6, made[i], exact[i], what + ", in pairs beside float32");
  }
}

}  // namespace
