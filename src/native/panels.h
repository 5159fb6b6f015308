#pragma once
#include "arithmetic.h"
#include "weights.h"
#ifdef AVX2_INTRINSICS
#include <immintrin.h>
#endif

/**
 * Products of many rows with weights [out, in] as they lie in memory. Rows stand in panels of 16, turned: [in, 16]. So weights are
 * broadcast one by one and never copied, which libraries do first for every product; of 64 to 200 rows that is a sixth of the time.
 */
constexpr int64_t PANEL = 16;

INLINED int64_t panels_of(int64_t rows) { return (rows + PANEL - 1) / PANEL; }

/** Rows x[r] [in] as panels [in, 16], the last one filled up with zeros. */
INLINED void to_panels(const float* const* x, float* panels, int64_t rows, int64_t in) {
  for (int64_t r = 0; r < panels_of(rows) * PANEL; r++) {
    float* to = panels + r / PANEL * in * PANEL + r % PANEL;
    for (int64_t i = 0; i < in; i++) to[i * PANEL] = r < rows ? x[r][i] : 0;
  }
}

/** 16 rows of 16 numbers -> the first numbers of all rows, the second ones, and so on. */
AVX512F_CODE inline void turn(const float* const* from, float* to) {
#ifdef AVX2_INTRINSICS
  __m512 a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    const __m512 first = _mm512_loadu_ps(from[i]), second = _mm512_loadu_ps(from[i + 1]);
    a[i] = _mm512_unpacklo_ps(first, second);
    a[i + 1] = _mm512_unpackhi_ps(first, second);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) {
      const __m512d first = _mm512_castps_pd(a[i + j]), second = _mm512_castps_pd(a[i + j + 2]);
      b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(first, second));
      b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(first, second));
    }
  for (int half = 0; half < 2; half++) // of b, rows i to i + 3 have four numbers of each quarter: i, 4 + i, 8 + i and 12 + i
    for (int i = 0; i < 4; i++) {
      a[half * 8 + i] = _mm512_shuffle_f32x4(b[half * 8 + i], b[half * 8 + 4 + i], 0x88);
      a[half * 8 + 4 + i] = _mm512_shuffle_f32x4(b[half * 8 + i], b[half * 8 + 4 + i], 0xdd);
    }
  for (int i = 0; i < 4; i++)
    for (int odd = 0; odd < 2; odd++) {
      _mm512_storeu_ps(to + (4 * odd + i) * 16, _mm512_shuffle_f32x4(a[4 * odd + i], a[8 + 4 * odd + i], 0x88));
      _mm512_storeu_ps(to + (8 + 4 * odd + i) * 16, _mm512_shuffle_f32x4(a[4 * odd + i], a[8 + 4 * odd + i], 0xdd));
    }
#else
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 16; j++) to[j * 16 + i] = from[i][j];
#endif
}

/** The channels `begin` to before `end` of the H between an expert's matrices: a part of its work. */
struct Between {
  int64_t H, begin, end;

  int64_t size() const { return end - begin; }
};

/**
 * A way of multiplying panels, R rows of weights with so many `TOGETHER`: in float32, by vectors. The other one is in pairs.h. What is
 * not held as float32 is widened into a room [R, in], which stays in a cache while all panels are multiplied with it.
 */
template <class Vector, int ROWS, int AT_ONCE> struct InFloats {
  typedef float Word; // of panels
  typedef const float* Row;
  static constexpr int R = ROWS, TOGETHER = AT_ONCE;

  static int64_t panel_words(int64_t in) { return in * PANEL; }
  static int64_t room_words(const Weights& weights, int64_t in) { return weights.format == Format::FLOAT32 ? 0 : in; }

  /** A row of weights, its first `in` numbers. */
  static INLINED Row row_of(const Weights& row, int64_t in, uint32_t* room) {
    if (row.format == Format::FLOAT32) return row.template row<float>(0);
    widen(row, in, reinterpret_cast<float*>(room));
    return reinterpret_cast<const float*>(room);
  }

  /** R rows of weights [in] times panels [in, 16] -> products [PANELS, R, 16]. */
  template <int PANELS> static INLINED void multiply(const Row* weights, const float* x, float (*products)[R][PANEL], int64_t in) {
    constexpr int WIDTH = WIDTH_OF<Vector>, VECTORS = PANELS * PANEL / WIDTH;
    const auto place = [](int v, int64_t apart) ALWAYS_INLINED { return v * WIDTH / PANEL * apart + v * WIDTH % PANEL; };
    Vector sums[R][VECTORS] = {};
    for (int64_t i = 0; i < in; i++, x += PANEL) {
      Vector of_x[VECTORS];
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) of_x[v] = lanes<Vector>(x + place(v, in * PANEL));
#pragma GCC unroll 12
      for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) sums[r][v] += of_x[v] * weights[r][i];
    }
    for (int r = 0; r < R; r++)
      for (int v = 0; v < VECTORS; v++) put(products[0][r] + place(v, R * PANEL), sums[r][v]);
  }

  /** Products of a gate's rows and of as many of up's as what is between, `count` channels of a panel. */
  static INLINED void put_gated(float (*products)[PANEL], int64_t count, float* to) {
    for (int64_t c = 0; c < count; c++) gate_all(products[c], products[R / 2 + c], to + c * PANEL, PANEL);
  }
};

/** `COUNT` rows of weights from `first` on; those past the last one stand for it again. */
template <class Way, int COUNT>
INLINED void rows_from(const Weights& weights, int64_t first, int64_t last, int64_t in, uint32_t* room, typename Way::Row* rows) {
  const int64_t words = Way::room_words(weights, in);
  for (int r = 0; r < COUNT; r++) rows[r] = Way::row_of(weights.at(std::min(first + r, last)), in, words > 0 ? room + r * words : nullptr);
}

/** Fetches one of `parts` parts of R rows [in] into a cache, to be multiplied next: a row is too short for the processor to foresee. */
template <int R> INLINED void fetch(const Weights& weights, int64_t first, int64_t last, int64_t in, int64_t part, int64_t parts) {
  const int64_t bytes = weights.bytes(in);
  for (int r = 0; r < R; r++) {
    const uint8_t* row = weights.row<uint8_t>(std::min(first + r, last));
    for (int64_t i = bytes * part / parts; i < bytes * (part + 1) / parts; i += 64) __builtin_prefetch(row + i, 0, 2);
  }
}

/** R rows of weights times panels of rows [in]; calls `take(panel, products [R, 16])` for each panel. */
template <class Way, class Take>
INLINED void each_panel(const typename Way::Row* weights, const typename Way::Word* x, int64_t panels, int64_t in, const Take& take) {
  constexpr int TOGETHER = Way::TOGETHER;
  alignas(64) float products[TOGETHER][Way::R][PANEL];
  int64_t p = 0;
  for (; p + TOGETHER <= panels; p += TOGETHER) {
    Way::template multiply<TOGETHER>(weights, x + p * Way::panel_words(in), products, in);
    for (int64_t k = 0; k < TOGETHER; k++) take(p + k, products[k]);
  }
  for (; p < panels; p++) {
    Way::template multiply<1>(weights, x + p * Way::panel_words(in), products, in);
    take(p, products[0]);
  }
}

/** Panels [D, 16] of rows -> channels `from` to before `to` of silu(gate(x)) * up(x) into the part's panels, R / 2 channels at once. */
template <class Way>
INLINED void gated_panels(
  const typename Way::Word* x, const Weights& gate_up, typename Way::Word* hidden, int64_t rows, int64_t D, Between part, int64_t from, int64_t to
) {
  constexpr int CHANNELS = Way::R / 2;
  static thread_local Room kept;
  const Weights up = gate_up.at(part.H);
  const int64_t words = CHANNELS * Way::room_words(gate_up, D), panels = panels_of(rows);
  uint32_t* const room = kept.words(2 * words);
  for (int64_t h = from; h < to; h += CHANNELS) {
    typename Way::Row weights[Way::R];
    rows_from<Way, CHANNELS>(gate_up, h, to - 1, D, room, weights);
    rows_from<Way, CHANNELS>(up, h, to - 1, D, room + words, weights + CHANNELS);
    each_panel<Way>(weights, x, panels, D, [&](int64_t p, float (*products)[PANEL]) ALWAYS_INLINED {
      fetch<CHANNELS>(gate_up, h + CHANNELS, to - 1, D, p, panels);
      fetch<CHANNELS>(up, h + CHANNELS, to - 1, D, p, panels);
      Way::put_gated(products, std::min<int64_t>(CHANNELS, to - h), hidden + p * Way::panel_words(part.size()) + Way::panel_words(h - part.begin));
    });
  }
}

/**
 * Panels of rows [in] times weights `from` to before `to`, R of them at once; calls `take(row, output, product)` for each row of x and each
 * of them.
 */
template <class Way, class Take>
INLINED void each_panel_product(
  const typename Way::Word* x, const Weights& weights, int64_t rows, int64_t in, int64_t from, int64_t to, const Take& take
) {
  constexpr int R = Way::R;
  static thread_local Room kept;
  uint32_t* const room = kept.words(R * Way::room_words(weights, in));
  for (int64_t o = from; o < to; o += R) {
    typename Way::Row of_outputs[R];
    rows_from<Way, R>(weights, o, to - 1, in, room, of_outputs);
    const int64_t outputs = std::min<int64_t>(R, to - o);
    each_panel<Way>(of_outputs, x, panels_of(rows), in, [&](int64_t p, float (*products)[PANEL]) ALWAYS_INLINED {
      fetch<R>(weights, o + R, to - 1, in, p, panels_of(rows));
      for (int64_t r = p * PANEL; r < std::min(rows, (p + 1) * PANEL); r++)
        for (int64_t c = 0; c < outputs; c++) take(r, o + c, products[c][r % PANEL]);
    });
  }
}

/** Adds channels `from` to before `to` of down(hidden), weighted, to rows y[r] [D], as far as the part's panels of hidden rows go. */
template <class Way>
INLINED void add_down_panels(
  const typename Way::Word* hidden, const Weights& down, const float* weight, float* const* y, int64_t rows, Between part, int64_t from, int64_t to
) {
  each_panel_product<Way>(hidden, down.at(0, part.begin), rows, part.size(), from, to, [&](int64_t r, int64_t d, float product) ALWAYS_INLINED {
    y[r][d] += weight[r] * product;
  });
}

/** `x W^T` of rows in panels, the outputs `from` to before `to`. */
template <class Way>
INLINED void put_panels(const typename Way::Word* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t from, int64_t to) {
  each_panel_product<Way>(x, weights, rows, in, from, to, [&](int64_t r, int64_t o, float product) ALWAYS_INLINED {
    y.at[r * y.row_step + o * y.out_step] = product;
  });
}

/** All again, as the processor has vectors, and with as many rows of weights at once as it has registers for. */
AVX512F_CODE inline void gated_wide(const float* x, const Weights& gate_up, float* hidden, int64_t rows, int64_t D, Between part, int64_t from, int64_t to) {
  gated_panels<InFloats<Wide, 8, 2>>(x, gate_up, hidden, rows, D, part, from, to);
}
INLINED void gated_narrow_body(
  const float* x, const Weights& gate_up, float* hidden, int64_t rows, int64_t D, Between part, int64_t from, int64_t to
) {
  gated_panels<InFloats<Lanes, 6, 1>>(x, gate_up, hidden, rows, D, part, from, to);
}
constexpr auto gated_narrow = for_every_processor<gated_narrow_body>;
AVX512F_CODE inline void add_down_wide(
  const float* hidden, const Weights& down, const float* weight, float* const* y, int64_t rows, Between part, int64_t from, int64_t to
) {
  add_down_panels<InFloats<Wide, 8, 2>>(hidden, down, weight, y, rows, part, from, to);
}
INLINED void add_down_narrow_body(
  const float* hidden, const Weights& down, const float* weight, float* const* y, int64_t rows, Between part, int64_t from, int64_t to
) {
  add_down_panels<InFloats<Lanes, 6, 1>>(hidden, down, weight, y, rows, part, from, to);
}
constexpr auto add_down_narrow = for_every_processor<add_down_narrow_body>;
AVX512F_CODE inline void along_panels_wide(const float* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t from, int64_t to) {
  put_panels<InFloats<Wide, 8, 2>>(x, weights, y, rows, in, from, to);
}
INLINED void along_panels_narrow_body(const float* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t from, int64_t to) {
  put_panels<InFloats<Lanes, 6, 1>>(x, weights, y, rows, in, from, to);
}
constexpr auto along_panels_narrow = for_every_processor<along_panels_narrow_body>;
