// Random weights as they are held, and what they stand for by the definition of each format.
#pragma once
#include <random>
#include <vector>

#include "weights.h"

namespace {

std::mt19937 generator(7);

float random_number() { return std::uniform_real_distribution<float>(-1, 1)(generator); }

int64_t random_size(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(generator); }

std::vector<float> random_numbers(int64_t count) {
  std::vector<float> numbers(count);
  for (float& number : numbers) number = random_number();
  return numbers;
}

std::vector<const float*> rows_of(const std::vector<float>& x, int64_t rows, int64_t size) {
  std::vector<const float*> at;
  for (int64_t r = 0; r < rows; r++) at.push_back(&x[r * size]);
  return at;
}

/** Weights as they are held, in memory that ends with them, and what they stand for by the definition of each format. */
struct Held {
  std::vector<uint8_t> bytes;
  std::vector<double> numbers;
  Weights weights;
};

/** By the definition: sign, exponent and mantissa. */
double of_bfloat16(uint16_t bits) { return bits_as<float>(static_cast<uint32_t>(bits) << 16); }
double of_float16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

void add(std::vector<uint8_t>& bytes, const void* from, size_t count) {
  const auto* first = static_cast<const uint8_t*>(from);
  bytes.insert(bytes.end(), first, first + count);
}

Held halves_of(Format format, int64_t in, int64_t out) {
  Held held;
  for (int64_t i = 0; i < in * out; i++) {
    const bool wide = format == Format::BFLOAT16;
    const uint16_t sign = random_size(0, 1) << 15;
    const uint16_t bits = sign | (wide ? random_size(110, 127) << 7 | random_size(0, 127) : random_size(0, 0x3c00)); // subnormals, too
    add(held.bytes, &bits, 2);
    held.numbers.push_back(wide ? of_bfloat16(bits) : of_float16(bits));
  }
  held.weights = {format, held.bytes.data(), in};
  return held;
}

Held floats_of(int64_t in, int64_t out) {
  Held held;
  for (const float number : random_numbers(in * out)) {
    add(held.bytes, &number, sizeof(number));
    held.numbers.push_back(number);
  }
  held.weights = {Format::FLOAT32, held.bytes.data(), in};
  return held;
}

Held groups_of(int bits, int64_t group, int64_t in, int64_t out) {
  Held held;
  for (int64_t o = 0; o < out; o++) {
    std::vector<int> whole(in);
    for (int& number : whole) number = random_size(0, (1 << bits) - 1);
    for (int64_t i = 0; i < in; i += 8 / bits) {
      const uint8_t byte = bits == 8 ? whole[i] : whole[i] | whole[i + 1] << 4;
      add(held.bytes, &byte, 1);
    }
    for (int64_t g = 0; g < in / group; g++) {
      const uint16_t scale = random_size(110, 122) << 7 | random_size(0, 127);
      add(held.bytes, &scale, 2);
      for (int64_t i = g * group; i < (g + 1) * group; i++)
        held.numbers.push_back((whole[i] - (1 << (bits - 1))) * of_bfloat16(scale));
    }
  }
  held.weights = {Format::GROUPS, held.bytes.data(), in, bits, group};
  return held;
}

/** Numbers of e4m3 or e2m1 by their definition: a sign, `exponent` bits with this bias, `mantissa` bits. */
double minifloat(int bits, int exponent, int mantissa, int bias) {
  const int power = bits >> mantissa & ((1 << exponent) - 1), digits = bits & ((1 << mantissa) - 1);
  const double size = power == 0 ? std::ldexp(digits, 1 - bias - mantissa) : std::ldexp((1 << mantissa) + digits, power - bias - mantissa);
  return bits >> (exponent + mantissa) & 1 ? -size : size;
}

/** Rows of e4m3 with a float32 for each group; the last one may be short. */
Held fp8_of(int64_t group, int64_t in, int64_t out) {
  Held held;
  for (int64_t o = 0; o < out; o++) {
    std::vector<uint8_t> row(in);
    for (uint8_t& number : row)
      do number = random_size(0, 255);
      while ((number & 127) == 127);
    add(held.bytes, row.data(), in);
    for (int64_t i = 0; i < in; i += group) {
      const float scale = std::ldexp(random_number(), -6);
      add(held.bytes, &scale, sizeof(scale));
      for (int64_t k = i; k < std::min(in, i + group); k++) held.numbers.push_back(scale * minifloat(row[k], 4, 3, 7));
    }
  }
  held.weights = {Format::FP8, held.bytes.data(), in, 8, group};
  return held;
}

/** Rows of e2m1 with a power of two for each 32; `extreme`: some of them as small and as large as products allow. */
Held mxfp4_of(int64_t in, int64_t out, bool extreme = false) {
  Held held;
  for (int64_t o = 0; o < out; o++) {
    std::vector<uint8_t> row(in / 2);
    for (uint8_t& number : row) number = random_size(0, 255);
    add(held.bytes, row.data(), in / 2);
    for (int64_t g = 0; g < in / 32; g++) {
      const uint8_t scale = extreme && o % 2 ? (g % 2 ? 0 : 240) : random_size(120, 134);
      add(held.bytes, &scale, 1);
      for (int64_t i = g * 32; i < (g + 1) * 32; i++)
        held.numbers.push_back(std::ldexp(minifloat(row[i / 2] >> (i % 2 * 4) & 15, 2, 1, 1), scale - 127));
    }
  }
  held.weights = {Format::MXFP4, held.bytes.data(), in, 4, 32};
  return held;
}

}  // namespace
