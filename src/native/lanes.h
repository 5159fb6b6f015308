#pragma once
#include <cstdint>
#include <cstring>

#include "processor.h"

#pragma GCC diagnostic ignored "-Wpsabi" // about callers in other files: all of these are inlined

/** Eight numbers that one instruction takes; wider ones read memory no faster. */
typedef float Lanes __attribute__((vector_size(32)));
constexpr int64_t LANES = 8;
/** Sixteen, where the processor has AVX-512 and what it computes is more than it reads. */
typedef float Wide __attribute__((vector_size(64)));

/** The whole numbers of 32 bits that go with a vector of floats. */
template <class Vector> struct Whole;
template <> struct Whole<Lanes> {
  typedef int32_t type __attribute__((vector_size(32)));
};
template <> struct Whole<Wide> {
  typedef int32_t type __attribute__((vector_size(64)));
};
template <class Vector> constexpr int64_t WIDTH_OF = sizeof(Vector) / sizeof(float);

/** What lies in memory as it is, as another type of as many bytes. */
template <class To, class From> INLINED To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "of one size");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

/** Half of a float32: its sign, exponent and seven bits more. */
struct BFloat16 {
  uint16_t bits;
};
/** IEEE 754 binary16. */
struct Float16 {
  uint16_t bits;
};

constexpr int64_t AHEAD = 8192; // bytes: memory answers as late as so many are multiplied

/** Has a cache fetch what comes after what is read now: where a page ends the processor itself stops looking ahead. */
INLINED void fetch_ahead(const void* at) { __builtin_prefetch(static_cast<const uint8_t*>(at) + AHEAD, 0, 2); }

/**
 * The same for rows that are read side by side: what comes after them, in one stream, since of several the processor fetches less; and
 * into the nearest cache, as their numbers take longer to be unpacked than to come from it.
 */
class LinesAhead {
 public:
  LinesAhead(const uint8_t* rows, int64_t bytes) : at_(rows + bytes + AHEAD), end_(at_ + bytes) {}
  INLINED void next() {
    __builtin_prefetch(at_, 0, 3);
    at_ += 64;
  }
  INLINED void rest() {
    while (at_ < end_) next();
  }

 private:
  const uint8_t *at_, *end_;
};

/** Numbers that may stand anywhere in memory, as a vector of float32. */
template <class Vector> INLINED Vector lanes(const float* at) {
  Vector x;
  std::memcpy(&x, at, sizeof(x));
  return x;
}
INLINED Lanes lanes(const float* at) { return lanes<Lanes>(at); }
template <class Vector> INLINED void put(float* at, Vector x) { std::memcpy(at, &x, sizeof(x)); }

/** What halves stand for, each in the low half of 32 bits, the upper half of which is zero. */
template <class Vector> INLINED Vector from_halves(typename Whole<Vector>::type halves, BFloat16) { return bits_as<Vector>(halves << 16); }

/** Without the processor's instruction for it, which not all have. A subnormal is made by a subtraction: TensorFlow has them flushed. */
template <class Vector> INLINED Vector from_halves(typename Whole<Vector>::type halves, Float16) {
  typedef typename Whole<Vector>::type Bits;
  constexpr int32_t ONE = 1 << 23, REBIASED = 112 * ONE; // of the exponent; the biases are 127 and 15
  const Bits magnitude = (halves & 0x7fff) << 13;
  const Bits sign = (halves & 0x8000) << 16;
  const Vector subnormal = bits_as<Vector>(magnitude + REBIASED + ONE) - 0x1p-14f;
  const Bits infinite = magnitude + 2 * REBIASED; // or no number
  Bits result = magnitude >= 31 * ONE ? infinite : magnitude + REBIASED;
  result = magnitude < ONE ? bits_as<Bits>(subnormal) : result;
  return bits_as<Vector>(result | sign);
}

/** The first and the second number of each word of two. */
template <class Vector> INLINED Vector low_of(typename Whole<Vector>::type words, Float16 type) {
  return from_halves<Vector>(words & 0xffff, type);
}
template <class Vector> INLINED Vector high_of(typename Whole<Vector>::type words, Float16 type) {
  return from_halves<Vector>((words >> 16) & 0xffff, type);
}
template <class Vector> INLINED Vector low_of(typename Whole<Vector>::type words, BFloat16) { return bits_as<Vector>(words << 16); }
template <class Vector> INLINED Vector high_of(typename Whole<Vector>::type words, BFloat16) {
  return bits_as<Vector>(words & static_cast<int32_t>(0xffff0000));
}

/** Eight numbers of 16 bits each. */
template <class Number> INLINED Lanes lanes(const Number* at) {
  typedef uint16_t Halves __attribute__((vector_size(16)));
  Halves x;
  std::memcpy(&x, at, sizeof(x));
  return from_halves<Lanes>(__builtin_convertvector(x, Whole<Lanes>::type), Number());
}

INLINED float number(const float* at) { return *at; }
INLINED float number(const BFloat16* at) { return bits_as<float>(static_cast<uint32_t>(at->bits) << 16); }
INLINED float number(const Float16* at) {
  const Float16 eight[LANES] = {*at};
  return lanes(eight)[0];
}

INLINED float sum_of(Lanes x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}
INLINED float sum_of(Wide x) {
  Lanes halves[2];
  std::memcpy(halves, &x, sizeof(x));
  return sum_of(halves[0] + halves[1]);
}
