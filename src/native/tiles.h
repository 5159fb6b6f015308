#pragma once
#include <type_traits>

#include "panels.h"

/**
 * Products of many rows by the processor's matrix unit, which multiplies tiles of bfloat16 and sums in float32 (Intel's AMX), five times
 * as many numbers a second as its vectors and more. A float32 is the sum of three bfloat16, and a weight of a bfloat16 one, or of
 * another way of being held two; so products are those of float32. 16 rows of weights are a tile as they lie in memory, and rows x
 * stand in tiles of pairs of numbers, turned: [pairs, 16].
 */
#ifdef TILES
#include <immintrin.h>
#define CONFIGURE_TILES(layout) asm volatile("ldtilecfg %0" ::"m"(layout))
#define RELEASE_TILES() asm volatile("tilerelease")
#define LOAD_TILE(tile, at, stride) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(at), "r"(static_cast<int64_t>(stride)) : "memory")
#define STORE_TILE(tile, at) asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(at), "r"(int64_t{64}) : "memory")
#define ZERO_TILE(tile) asm volatile("tilezero %tmm" #tile)
#define ADD_PRODUCT(sum, weights, x) asm volatile("tdpbf16ps %tmm" #x ", %tmm" #weights ", %tmm" #sum)
#else // never called: no processor has them
#define CONFIGURE_TILES(layout) static_cast<void>(layout)
#define RELEASE_TILES()
#define LOAD_TILE(tile, at, stride)
#define STORE_TILE(tile, at)
#define ZERO_TILE(tile)
#define ADD_PRODUCT(sum, weights, x)
#endif

constexpr int64_t BLOCK = 32;             // numbers of a row in a tile
constexpr int64_t TILE_WORDS = 16 * 16;   // pairs of them
constexpr int64_t PARTS = 3;              // bfloat16 that a float32 is the sum of
typedef Whole<Wide>::type WideBits;
constexpr int32_t UPPER = static_cast<int32_t>(0xffff0000);

INLINED int64_t blocks_of(int64_t in) { return (in + BLOCK - 1) / BLOCK; }
/** Whether many rows are multiplied with such weights so. */
INLINED bool tiles_for(const Weights& weights) { return PROCESSOR.amx && weights.format != Format::FLOAT32; }
/** Words of 16 rows [in] in tiles [blocks, parts]. */
INLINED int64_t tile_words(int64_t in) { return blocks_of(in) * PARTS * TILE_WORDS; }

/** Tells the processor of the tiles, for as long as it lives: all of 16 rows of 64 bytes. */
class TilesInUse {
 public:
  TilesInUse() {
    struct {
      uint8_t palette = 1, first_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } const layout;
    CONFIGURE_TILES(layout);
  }
  ~TilesInUse() { RELEASE_TILES(); }
  TilesInUse(const TilesInUse&) = delete;
};

/** Sixteen pairs of numbers -> the words of their parts, a tile from one part to the next. */
template <int COUNT = PARTS> INLINED void put_parts(const float* firsts, const float* seconds, uint32_t* to) {
  typedef uint32_t Unsigned __attribute__((vector_size(64)));
  Wide first = lanes<Wide>(firsts), second = lanes<Wide>(seconds);
  for (int part = 0; part < COUNT; part++, to += TILE_WORDS) {
    const WideBits a = bits_as<WideBits>(first) & UPPER, b = bits_as<WideBits>(second) & UPPER;
    const WideBits both = bits_as<WideBits>(bits_as<Unsigned>(a) >> 16) | b;
    std::memcpy(to, &both, sizeof(both));
    first -= bits_as<Wide>(a);
    second -= bits_as<Wide>(b);
  }
}

/** Rows x[r] [in] as tiles [panels, blocks, parts], filled up with zeros. */
AVX512F_CODE inline void to_tiles(const float* const* x, uint32_t* tiles, int64_t rows, int64_t in) {
  alignas(64) float ends[16][16], turned[TILE_WORDS];
  static const float none[16] = {};
  for (int64_t p = 0; p < panels_of(rows); p++)
    for (int64_t i = 0; i < blocks_of(in) * BLOCK; i += 16) {
      const float* from[16];
      for (int64_t r = 0; r < 16; r++) {
        from[r] = p * PANEL + r < rows && i < in ? x[p * PANEL + r] + i : none;
        if (i + 16 <= in || from[r] == none) continue;
        std::memset(ends[r], 0, sizeof(ends[r]));
        std::memcpy(ends[r], from[r], (in - i) * sizeof(float));
        from[r] = ends[r];
      }
      turn(from, turned);
      uint32_t* const to = tiles + p * tile_words(in) + i / BLOCK * PARTS * TILE_WORDS + i % BLOCK / 2 * 16;
      for (int64_t k = 0; k < 16; k += 2) put_parts(turned + k * 16, turned + k * 16 + 16, to + k * 8);
    }
}

/** 16 rows of weights as tiles: where the first is, bytes from one of its rows to the next, from block to block, and from part to part. */
struct Strip {
  const uint8_t* at;
  int64_t stride, block, part;
};

/** How many bfloat16 a weight is the sum of. */
INLINED int weight_parts(const Weights& weights) {
  if (weights.format == Format::BFLOAT16 || weights.format == Format::MXFP4) return 1; // two bits and a power of two
  return weights.format == Format::FP8 ? 3 : 2; // by a float32
}

/** Words of a strip's room. */
INLINED int64_t strip_words(const Weights& weights, int64_t in) { return blocks_of(in) * weight_parts(weights) * TILE_WORDS; }

/** n numbers of a row as the first row of tiles. */
INLINED void put_weights(const float* numbers, int64_t n, int parts, uint8_t* to) {
  typedef uint16_t Halves __attribute__((vector_size(32)));
  for (int64_t i = 0; i < n; i += 16) {
    Wide x = {};
    std::memcpy(&x, numbers + i, std::min<int64_t>(16, n - i) * sizeof(float));
    for (int part = 0; part < parts; part++) {
      const WideBits bits = bits_as<WideBits>(x) & UPPER;
      const Halves halves = __builtin_convertvector(bits >> 16, Halves);
      std::memcpy(to + ((i / BLOCK * parts + part) * TILE_WORDS * 4) + i % BLOCK * 2, &halves, sizeof(halves));
      x -= bits_as<Wide>(bits);
    }
  }
  if (n % BLOCK > 0 && n % BLOCK <= 16)
    for (int part = 0; part < parts; part++) std::memset(to + (n / BLOCK * parts + part) * TILE_WORDS * 4 + 32, 0, 32);
}

/** A row in groups [n] as the first row of tiles: each word of two numbers of 8 or 4 bits becomes one of two bfloat16. */
template <int BITS> AVX512F_CODE inline void put_groups(const Weights& row, int64_t n, uint32_t* to) {
#ifdef TILES
  constexpr int64_t BYTES = BLOCK * BITS / 8;
  const __m512i most = _mm512_set1_epi32((1 << BITS) - 1), bias = _mm512_set1_epi32(1 << (BITS - 1));
  const int64_t of_group = row.group / BLOCK;
  const uint8_t* from = row.numbers;
  for (int64_t block = 0, group = 0; block < n / BLOCK; group++) {
    const __m512 scale = _mm512_set1_ps(scale_at(row.scales, group));
    for (const int64_t end = std::min(n / BLOCK, block + of_group); block < end; block++, from += BYTES, to += 2 * TILE_WORDS) {
      const __m512i pairs = BITS == 8 ? _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))
                                      : _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
      const __m512i first = _mm512_sub_epi32(_mm512_and_si512(pairs, most), bias), second = _mm512_sub_epi32(_mm512_srli_epi32(pairs, BITS), bias);
      alignas(64) float numbers[2][16];
      _mm512_store_ps(numbers[0], _mm512_mul_ps(_mm512_cvtepi32_ps(first), scale));
      _mm512_store_ps(numbers[1], _mm512_mul_ps(_mm512_cvtepi32_ps(second), scale));
      put_parts<2>(numbers[0], numbers[1], to);
    }
  }
#endif
}

/** The 16 rows from `first` on; those past `last` are it again. Where they lie if they can be read there, else in `room`, with `row` [in] to widen one in. */
INLINED Strip strip_from(const Weights& weights, int64_t first, int64_t last, int64_t in, uint32_t* room, float* row) {
  const int parts = weight_parts(weights);
  if (weights.format == Format::BFLOAT16 && in % BLOCK == 0 && first + 15 <= last) return {weights.row<uint8_t>(first), weights.row_bytes, 64, 0};
  for (int64_t r = 0; r < 16; r++) {
    const Weights held = weights.at(std::min(first + r, last));
    if (held.format == Format::GROUPS) {
      if (held.bits == 8) put_groups<8>(held, in, room + r * 16);
      else put_groups<4>(held, in, room + r * 16);
      continue;
    }
    widen(held, in, row);
    put_weights(row, in, parts, reinterpret_cast<uint8_t*>(room) + r * 64);
  }
  return {reinterpret_cast<const uint8_t*>(room), 64, parts * TILE_WORDS * 4, TILE_WORDS * 4};
}

/** Two strips of weights times one or two panels' tiles [blocks, parts] -> products [2 strips, 2 panels, 16, 16], of a strip's row those of 16 rows x. */
template <int PANELS>
INLINED void multiply_tiles(Strip a, Strip b, int parts, const uint32_t* x, int64_t to_next_panel, int64_t blocks, float* products) {
  ZERO_TILE(0);
  ZERO_TILE(1);
  ZERO_TILE(2);
  ZERO_TILE(3);
  for (int64_t i = 0; i < blocks; i++, a.at += a.block, b.at += b.block, x += PARTS * TILE_WORDS)
    for (int weight = 0; weight < parts; weight++) {
      LOAD_TILE(4, a.at + weight * a.part, a.stride);
      LOAD_TILE(5, b.at + weight * b.part, b.stride);
      for (int part = 0; part < PARTS - weight; part++) { // the last of both is too small to count
        LOAD_TILE(6, x + part * TILE_WORDS, 64);
        ADD_PRODUCT(0, 4, 6);
        ADD_PRODUCT(2, 5, 6);
        if (PANELS == 1) continue;
        LOAD_TILE(7, x + to_next_panel + part * TILE_WORDS, 64);
        ADD_PRODUCT(1, 4, 7);
        ADD_PRODUCT(3, 5, 7);
      }
    }
  STORE_TILE(0, products);
  STORE_TILE(1, products + TILE_WORDS);
  STORE_TILE(2, products + 2 * TILE_WORDS);
  STORE_TILE(3, products + 3 * TILE_WORDS);
}

/** Multiplies strips of 16 rows, `first` of `a` and of `b`, with all panels of x, and calls `take(panel, products of a, products of b)`, [16, 16] each. */
template <class Take>
INLINED void each_panel(const Strip& a, const Strip& b, int parts, const uint32_t* x, int64_t rows, int64_t in, const Take& take) {
  alignas(64) float products[4 * TILE_WORDS];
  const int64_t panel = tile_words(in), panels = panels_of(rows);
  for (int64_t p = 0; p < panels; p += 2) {
    if (p + 1 == panels) multiply_tiles<1>(a, b, parts, x + p * panel, 0, blocks_of(in), products);
    else multiply_tiles<2>(a, b, parts, x + p * panel, panel, blocks_of(in), products);
    take(p, products, products + 2 * TILE_WORDS);
    if (p + 1 < panels) take(p + 1, products + TILE_WORDS, products + 3 * TILE_WORDS);
  }
}

/** As `gated_panels`, into tiles; `from` and `part.begin` are a whole number of blocks apart. */
AVX512F_CODE inline void gated_tiles(
  const uint32_t* x, const Weights& gate_up, uint32_t* hidden, int64_t rows, int64_t D, Between part, int64_t from, int64_t to
) {
  static thread_local Room kept;
  const int64_t words = strip_words(gate_up, D);
  uint32_t* room = kept.words(2 * words + D);
  float* row = reinterpret_cast<float*>(room + 2 * words);
  const TilesInUse meanwhile;
  for (int64_t h = from; h < from + blocks_of(to - from) * BLOCK; h += 16) {
    const Strip gate = strip_from(gate_up, h, to - 1, D, room, row);
    const Strip up = strip_from(gate_up.at(part.H), h, to - 1, D, room + words, row);
    uint32_t* const tiles = hidden + (h - part.begin) / BLOCK * PARTS * TILE_WORDS + (h - part.begin) % BLOCK / 2 * 16;
    each_panel(gate, up, weight_parts(gate_up), x, rows, D, [&](int64_t p, float* gates, const float* ups) ALWAYS_INLINED {
      gate_all<Wide>(gates, ups, gates, TILE_WORDS);
      std::fill(gates + std::max<int64_t>(0, std::min<int64_t>(16, to - h)) * 16, gates + TILE_WORDS, 0.f);
      for (int64_t c = 0; c < 16; c += 2)
        put_parts(gates + c * 16, gates + c * 16 + 16, tiles + p * tile_words(part.size()) + c * 8);
    });
  }
}

/** Tiles of rows times weights `from` to before `to`; calls `take(row, output, count, at)`: `count` outputs of a row, from one on. */
template <class Take>
INLINED void each_product(const uint32_t* x, const Weights& weights, int64_t rows, int64_t in, int64_t from, int64_t to, const Take& take) {
  static thread_local Room kept;
  const int64_t words = strip_words(weights, in);
  uint32_t* room = kept.words(2 * words + in);
  float* row = reinterpret_cast<float*>(room + 2 * words);
  const TilesInUse meanwhile;
  for (int64_t o = from; o < to; o += 32) {
    const Strip a = strip_from(weights, o, to - 1, in, room, row), b = strip_from(weights, o + 16, to - 1, in, room + words, row);
    const auto turned = [&](int64_t p, int64_t output, const float* products) ALWAYS_INLINED {
      alignas(64) float of_rows[TILE_WORDS];
      const float* from[16];
      for (int64_t c = 0; c < 16; c++) from[c] = products + c * PANEL;
      turn(from, of_rows);
      for (int64_t r = p * PANEL; r < std::min(rows, (p + 1) * PANEL); r++)
        take(r, output, std::min<int64_t>(16, to - output), of_rows + r % PANEL * 16);
    };
    each_panel(a, b, weight_parts(weights), x, rows, in, [&](int64_t p, const float* of_a, const float* of_b) ALWAYS_INLINED {
      turned(p, o, of_a);
      turned(p, o + 16, of_b);
    });
  }
}

/** As `add_down_panels`. */
AVX512F_CODE inline void add_down_tiles(
  const uint32_t* hidden, const Weights& down, const float* weight, float* const* y, int64_t rows, Between part, int64_t from, int64_t to
) {
  each_product(hidden, down.at(0, part.begin), rows, part.size(), from, to, [&](int64_t r, int64_t d, int64_t count, const float* at) ALWAYS_INLINED {
    for (int64_t c = 0; c < count; c++) y[r][d + c] += weight[r] * at[c];
  });
}

/** `x W^T` of rows in tiles, the outputs `from` to before `to`. */
AVX512F_CODE inline void along_tiles(
  const uint32_t* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t from, int64_t to
) {
  each_product(x, weights, rows, in, from, to, [&](int64_t r, int64_t o, int64_t count, const float* at) ALWAYS_INLINED {
    for (int64_t c = 0; c < count; c++) y.at[r * y.row_step + (o + c) * y.out_step] = at[c];
  });
}
