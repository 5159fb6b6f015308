#pragma once
#include "arithmetic.h"
#include "call.h"

namespace {

/** Of mask [B or 1, 1, rows or 1, S], where the row of a sequence begins. */
struct Masks {
  const float* at;
  std::vector<int64_t> shape;

  const float* row(int64_t sequence, int64_t row) const {
    return at + ((shape[0] == 1 ? 0 : sequence) * shape[2] + (shape[2] == 1 ? 0 : row)) * shape[3];
  }
};

/** The G query heads of T tokens that share a key-value head: where the head of a token stands, and where what it makes of the values goes. */
template <class From, class To>
void attend_together(
  int64_t sequence, int64_t G, int64_t T, const Masks& masks, const From& from, const To& to, const float* keys, const float* values, int64_t d, int64_t width
) {
  std::vector<const float*> rows, hides;
  std::vector<float*> made;
  for (int64_t g = 0; g < G; g++)
    for (int64_t t = 0; t < T; t++) {
      rows.push_back(from(t, g));
      made.push_back(to(t, g));
      hides.push_back(masks.row(sequence, g * T + t));
    }
  attend(rows.data(), hides.data(), made.data(), G * T, keys, values, masks.shape[3], d, width);
}

/** queries [B, T, N, d], keys and values [B, Nk, S, d], mask [B or 1, 1, G T or 1, S], G = N / Nk -> [B, T, N, d]. */
struct Attention {
  int64_t width = 0;
  void compute(Call& call) const {
    std::vector<int64_t> shape, stored;
    const float* q = call.input(0, &shape);
    const float* keys = call.input(1, &stored);
    const float* values = call.input(2);
    Masks masks;
    masks.at = call.input(3, &masks.shape);
    const int64_t B = shape[0], T = shape[1], N = shape[2], d = shape[3], Nk = stored[1], S = stored[2], G = N / Nk;
    float* y = call.output({B, T, N, width});
    Threads::shared().run(B * Nk, [&](int64_t i) {
      const auto at = [&](int64_t t, int64_t g) { return (i / Nk * T + t) * N + i % Nk * G + g; };
      const auto from = [&](int64_t t, int64_t g) { return q + at(t, g) * d; };
      const auto to = [&](int64_t t, int64_t g) { return y + at(t, g) * width; };
      attend_together(i / Nk, G, T, masks, from, to, keys + i * S * d, values + i * S * d, d, width);
    });
  }
};

/**
 * What a projection made of few tokens, x [B T, (N + 2 Nk) d], or such of four axes: queries, then keys and values, which go to their
 * `slots` [B T 2 Nk] among the vectors of a cache [2, B, Nk, S, d]; all turned first if there are tables [B or 1, T, N + 2 Nk, d].
 * Mask as above -> [B T, N d].
 */
struct CachedAttention {
  int64_t rotary = 0, turns = 0;

  void compute(Call& call) const {
    std::vector<int64_t> shape, stored, tables, slotted;
    const float* x = call.input(0, &shape);
    float* cache = const_cast<float*>(call.input(1, &stored)); // a variable's own memory
    const int32_t* slots = call.input<int32_t>(2, &slotted);
    Masks masks;
    masks.at = call.input(3, &masks.shape);
    const float* cos = turns > 0 ? call.input(4, &tables) : nullptr;
    const float* sin = turns > 0 ? call.input(5) : nullptr;
    const int64_t B = stored[1], Nk = stored[2], S = stored[3], d = stored[4], T = slotted[0] / (2 * B * Nk);
    const int64_t heads = numbers_of(shape) / (B * T * d), N = heads - 2 * Nk, G = N / Nk;
    float* y = call.output({B * T, N * d});
    Threads::shared().run(B * Nk, [&](int64_t i) {
      static thread_local Room kept;
      const int64_t b = i / Nk, j = i % Nk;
      float* turned = kept.floats(G * T * d);
      const auto take = [&](int64_t t, int64_t head, int64_t count, float* to) {
        const int64_t at = ((b * T + t) * heads + head) * d, table = ((turns == 0 || tables[0] == 1 ? t : b * T + t) * heads + head) * d;
        if (turns > 0) rope(x + at, cos + table, sin + table, to, count, d, rotary);
        else std::memcpy(to, x + at, count * d * sizeof(float));
      };
      for (int64_t t = 0; t < T; t++) {
        const int32_t* slot = slots + (b * T + t) * 2 * Nk + j;
        take(t, N + j, 1, cache + slot[0] * d);
        take(t, N + Nk + j, 1, cache + slot[Nk] * d);
        take(t, j * G, G, turned + t * G * d);
      }
      const auto from = [&](int64_t t, int64_t g) { return turned + (t * G + g) * d; };
      const auto to = [&](int64_t t, int64_t g) { return y + ((b * T + t) * N + j * G + g) * d; };
      const float* keys = cache + i * S * d;
      attend_together(b, G, T, masks, from, to, keys, keys + B * Nk * S * d, d, d);
    });
  }
};

}  // namespace
