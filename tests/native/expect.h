// What tests of products expect, and how many expectations failed.
#pragma once
#include <cmath>
#include <cstdio>
#include <string>

#include "held.h"
#include "products.h"

namespace {

int failures = 0;

void expect_within(double bound, double actual, double expected, const std::string& what) {
  if (std::abs(actual - expected) <= bound) return;
  if (failures++ < 20) std::printf("%s: %g, expected %g\n", what.c_str(), actual, expected);
}

/** But for the rounding of sums of float32. */
void expect_near(double actual, double expected, double magnitude, const std::string& what) {
  expect_within(1e-5 * magnitude + 1e-6, actual, expected, what);
}

/** Whether products y are those of rows x [rows, in] and what is held, by the definition; `rounding`: by how much of itself a number of x may be off. */
void expect_products(
  Products y, const std::vector<float>& x, const Held& held, int64_t rows, int64_t in, int64_t out, const std::string& what, double rounding = 0
) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t o = 0; o < out; o++) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < in; i++) {
        const double term = x[r * in + i] * held.numbers[o * in + i];
        sum += term;
        magnitude += std::abs(term);
      }
      expect_within((rounding + 1e-5) * magnitude + 1e-6, y.at[r * y.row_step + o * y.out_step], sum, what);
    }
}

}  // namespace
