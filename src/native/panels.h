#pragma once
#include "arithmetic.h"
#include "weights.h"

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

/** R rows of weights [in] times a panel [in, 16], by vectors that hold WIDTH numbers -> products [R, 16]. */
template <class Vector, int R>
INLINED void multiply(const float* const* weights, const float* panel, float products[][PANEL], int64_t in) {
  constexpr int WIDTH = sizeof(Vector) / sizeof(float), VECTORS = PANEL / WIDTH;
  Vector sums[R][VECTORS] = {};
  for (int64_t i = 0; i < in; i++, panel += PANEL)
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++)
        sums[r][v] += lanes<Vector>(panel + v * WIDTH) * weights[r][i];
  for (int r = 0; r < R; r++)
    for (int v = 0; v < VECTORS; v++) put(products[r] + v * WIDTH, sums[r][v]);
}

/**
 * R rows of weights from `first` on, their first `in` numbers as float32; those past the last one stand for it again. What is not
 * held so is widened into `room` [R, in], which stays in a cache while all panels are multiplied with it.
 */
template <int R>
INLINED void rows_from(const Weights& weights, int64_t first, int64_t last, int64_t in, float* room, const float** rows) {
  for (int r = 0; r < R; r++) {
    const int64_t row = std::min(first + r, last);
    rows[r] = weights.row<float>(row);
    if (weights.format == Format::FLOAT32) continue; // without any room
    widen(weights.at(row), in, room + r * in);
    rows[r] = room + r * in;
  }
}

/** Fetches one of `parts` parts of R rows [in] into a cache, to be multiplied next: a row is too short for the processor to foresee. */
template <int R> INLINED void fetch(const Weights& weights, int64_t first, int64_t last, int64_t in, int64_t part, int64_t parts) {
  const int64_t bytes = weights.bytes(in);
  for (int r = 0; r < R; r++) {
    const uint8_t* row = weights.row<uint8_t>(std::min(first + r, last));
    for (int64_t i = bytes * part / parts; i < bytes * (part + 1) / parts; i += 64) __builtin_prefetch(row + i, 0, 2);
  }
}

/** The channels `begin` to before `end` of the H between an expert's matrices: a part of its work. */
struct Between {
  int64_t H, begin, end;

  int64_t size() const { return end - begin; }
};

/** Panels [D, 16] of rows -> channels `from` to before `to` of silu(gate(x)) * up(x) into the part's panels, R / 2 channels at once. */
template <class Vector, int R>
INLINED void gated_panels(
  const float* x, const Weights& gate_up, float* hidden, int64_t rows, int64_t D, Between part, int64_t from, int64_t to
) {
  constexpr int CHANNELS = R / 2;
  const Weights up = gate_up.at(part.H);
  const bool widened = gate_up.format != Format::FLOAT32;
  std::vector<float> room(widened ? R * D : 0);
  float* const of_up = widened ? room.data() + CHANNELS * D : nullptr;
  for (int64_t h = from; h < to; h += CHANNELS) {
    const float* weights[R];
    rows_from<CHANNELS>(gate_up, h, to - 1, D, room.data(), weights);
    rows_from<CHANNELS>(up, h, to - 1, D, of_up, weights + CHANNELS);
    for (int64_t p = 0; p < panels_of(rows); p++) {
      fetch<CHANNELS>(gate_up, h + CHANNELS, to - 1, D, p, panels_of(rows));
      fetch<CHANNELS>(up, h + CHANNELS, to - 1, D, p, panels_of(rows));
      float products[R][PANEL];
      multiply<Vector, R>(weights, x + p * D * PANEL, products, D);
      for (int c = 0; c < CHANNELS && h + c < to; c++)
        gate_all(products[c], products[CHANNELS + c], hidden + (p * part.size() + h - part.begin + c) * PANEL, PANEL);
    }
  }
}

/**
 * Panels of rows [in] times weights `from` to before `to`, R of them at once; calls `take(row, output, product)` for each row of x and each
 * of them.
 */
template <class Vector, int R, class Take>
INLINED void each_panel_product(const float* x, const Weights& weights, int64_t rows, int64_t in, int64_t from, int64_t to, const Take& take) {
  static thread_local Room kept;
  float* const room = kept.floats(weights.format == Format::FLOAT32 ? 0 : R * in);
  for (int64_t o = from; o < to; o += R) {
    const float* of_outputs[R];
    rows_from<R>(weights, o, to - 1, in, room, of_outputs);
    const int64_t outputs = std::min<int64_t>(R, to - o);
    for (int64_t p = 0; p < panels_of(rows); p++) {
      fetch<R>(weights, o + R, to - 1, in, p, panels_of(rows));
      float products[R][PANEL];
      multiply<Vector, R>(of_outputs, x + p * in * PANEL, products, in);
      for (int64_t r = p * PANEL; r < std::min(rows, (p + 1) * PANEL); r++)
        for (int64_t c = 0; c < outputs; c++) take(r, o + c, products[c][r % PANEL]);
    }
  }
}

/** Adds channels `from` to before `to` of down(hidden), weighted, to rows y[r] [D], as far as the part's panels of hidden rows go. */
template <class Vector, int R>
INLINED void add_down_panels(
  const float* hidden, const Weights& down, const float* weight, float* const* y, int64_t rows, Between part, int64_t from, int64_t to
) {
  each_panel_product<Vector, R>(hidden, down.at(0, part.begin), rows, part.size(), from, to, [&](int64_t r, int64_t d, float product) ALWAYS_INLINED {
    y[r][d] += weight[r] * product;
  });
}

/** `x W^T` of rows in panels, the outputs `from` to before `to`. */
template <class Vector, int R>
INLINED void put_panels(const float* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t from, int64_t to) {
  each_panel_product<Vector, R>(x, weights, rows, in, from, to, [&](int64_t r, int64_t o, float product) ALWAYS_INLINED {
    y.at[r * y.row_step + o * y.out_step] = product;
  });
}

/** All again, as the processor has vectors, and with as many rows of weights at once as it has registers for. */
AVX512F_CODE inline void gated_wide(const float* x, const Weights& gate_up, float* hidden, int64_t rows, int64_t D, Between part, int64_t from, int64_t to) {
  gated_panels<Wide, 8>(x, gate_up, hidden, rows, D, part, from, to);
}
INLINED void gated_narrow_body(
  const float* x, const Weights& gate_up, float* hidden, int64_t rows, int64_t D, Between part, int64_t from, int64_t to
) {
  gated_panels<Lanes, 6>(x, gate_up, hidden, rows, D, part, from, to);
}
constexpr auto gated_narrow = for_every_processor<gated_narrow_body>;
AVX512F_CODE inline void add_down_wide(
  const float* hidden, const Weights& down, const float* weight, float* const* y, int64_t rows, Between part, int64_t from, int64_t to
) {
  add_down_panels<Wide, 8>(hidden, down, weight, y, rows, part, from, to);
}
INLINED void add_down_narrow_body(
  const float* hidden, const Weights& down, const float* weight, float* const* y, int64_t rows, Between part, int64_t from, int64_t to
) {
  add_down_panels<Lanes, 6>(hidden, down, weight, y, rows, part, from, to);
}
constexpr auto add_down_narrow = for_every_processor<add_down_narrow_body>;
AVX512F_CODE inline void along_panels_wide(const float* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t from, int64_t to) {
  put_panels<Wide, 8>(x, weights, y, rows, in, from, to);
}
INLINED void along_panels_narrow_body(const float* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t from, int64_t to) {
  put_panels<Lanes, 6>(x, weights, y, rows, in, from, to);
}
constexpr auto along_panels_narrow = for_every_processor<along_panels_narrow_body>;
