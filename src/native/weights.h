#pragma once
#include <algorithm>
#include <vector>

#include "lanes.h"

/** Memory of a thread's, kept, as what is fresh from the system costs a fault a page; it begins with a cache line. */
class Room {
 public:
  uint32_t* words(int64_t count) {
    kept_.resize(std::max<size_t>(kept_.size(), count + 16));
    return reinterpret_cast<uint32_t*>((reinterpret_cast<uintptr_t>(kept_.data()) + 63) & ~uintptr_t{63});
  }
  float* floats(int64_t count) { return reinterpret_cast<float*>(words(count)); }

 private:
  std::vector<uint32_t> kept_;
};

/** How the numbers of a matrix of weights are held. */
enum class Format { FLOAT32, BFLOAT16, FLOAT16, GROUPS, FP8, MXFP4 };

/**
 * A matrix of weights [out, in] as it is held, from one of its rows and numbers on. Of the last three a row is numbers, then a scale for
 * each group of them, by which it is multiplied. GROUPS: whole numbers of 8 or 4 bits, two in a byte, the first in its low bits, each
 * more by half their range than it stands for; bfloat16 scales. FP8, MXFP4: minifloats.h.
 */
struct Weights {
  Format format = Format::FLOAT32;
  int bits = 32, scale_bytes = 0;
  int64_t group = 0;
  const uint8_t* numbers = nullptr;
  const uint8_t* scales = nullptr;
  int64_t row_bytes = 0;

  Weights() = default;

  /** Rows one after the other from `data` on. */
  Weights(Format format, const void* data, int64_t in, int bits = 0, int64_t group = 0)
    : format(format), bits(bits_of(format, bits)), scale_bytes(scale_bytes_of(format)), group(group),
      numbers(static_cast<const uint8_t*>(data)), scales(numbers + bytes(in)),
      row_bytes(bytes(in) + (group > 0 ? (in + group - 1) / group * scale_bytes : 0)) {}

  static int bits_of(Format format, int of_groups) {
    if (format == Format::GROUPS) return of_groups;
    return format == Format::FLOAT32 ? 32 : format == Format::FP8 ? 8 : format == Format::MXFP4 ? 4 : 16;
  }
  static int scale_bytes_of(Format format) {
    return format == Format::GROUPS ? sizeof(BFloat16) : format == Format::FP8 ? sizeof(float) : format == Format::MXFP4 ? 1 : 0;
  }

  int64_t bytes(int64_t count) const { return count * bits / 8; }

  /** The same from another row and another number of each row on; where there are groups, one that begins a group. */
  Weights at(int64_t row, int64_t number = 0) const {
    Weights there = *this;
    there.numbers += row * row_bytes + bytes(number);
    there.scales += row * row_bytes + (group > 0 ? number / group * scale_bytes : 0);
    return there;
  }

  template <class Number> const Number* row(int64_t r) const { return reinterpret_cast<const Number*>(numbers + r * row_bytes); }

  bool is_minifloat() const { return format == Format::FP8 || format == Format::MXFP4; }

  /** Where a row may be cut: a multiple of this. */
  int64_t cut() const { return std::max<int64_t>(1, group); }
};

/** A bfloat16, which may stand anywhere. */
INLINED float scale_at(const uint8_t* scales, int64_t group) {
  BFloat16 scale;
  std::memcpy(&scale, scales + 2 * group, sizeof(scale));
  return number(&scale);
}

/** What number `i` of a row of GROUPS says before it is scaled. */
INLINED float whole_at(const Weights& row, int64_t i) {
  if (row.bits == 8) return static_cast<int>(row.numbers[i]) - 128;
  return static_cast<int>(row.numbers[i / 2] >> (i % 2 * 4) & 15) - 8;
}

template <class Number> INLINED void widen_row(const Number* row, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) put(y + i, lanes(row + i));
  for (; i < n; i++) y[i] = number(row + i);
}

/** Of FP8 and MXFP4: minifloats.h. */
inline void widen_minifloats(const Weights& row, int64_t n, float* y);

/** The first n numbers of a row as float32. */
INLINED void widen(const Weights& row, int64_t n, float* y) {
  if (row.format == Format::FLOAT32) std::memcpy(y, row.numbers, n * sizeof(float));
  if (row.format == Format::BFLOAT16) widen_row(row.row<BFloat16>(0), n, y);
  if (row.format == Format::FLOAT16) widen_row(row.row<Float16>(0), n, y);
  if (row.is_minifloat()) widen_minifloats(row, n, y);
  if (row.format != Format::GROUPS) return;
  for (int64_t from = 0; from < n; from += row.group) {
    const float scale = scale_at(row.scales, from / row.group);
    const int64_t count = std::min(row.group, n - from);
    const uint8_t* at = row.numbers + row.bytes(from);
    if (row.bits == 8)
      for (int64_t i = 0; i < count; i++) y[from + i] = scale * (static_cast<int>(at[i]) - 128);
    else
      for (int64_t i = 0; i < count / 2; i++) {
        y[from + 2 * i] = scale * (static_cast<int>(at[i] & 15) - 8);
        y[from + 2 * i + 1] = scale * (static_cast<int>(at[i] >> 4) - 8);
      }
  }
}
INLINED void widened_body(const Weights& row, int64_t n, float* y) { widen(row, n, y); }
constexpr auto widened = for_every_processor<widened_body>;
