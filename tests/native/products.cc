// The products of src/native against their definitions, for random sizes, every way of holding weights, and every kind of processor
// that this one can stand for. Prints what is wrong, and ends with 1 then.
#include "groups.h"
#include "in-pairs.h"
#include "tiles.h"

namespace {

/** Rows by weights, along their rows: each product, and that it is the same whatever rows are beside it. */
void test_along(const Held& held, int64_t in, int64_t out, int64_t rows, const std::string& what) {
  const auto x = random_numbers(rows * in);
  const auto at = rows_of(x, rows, in);
  std::vector<float> y(rows * out), alone(out), turned(rows * out);
  along_rows(at.data(), held.weights, {y.data(), out, 1}, rows, in, out);
  along_rows(at.data(), held.weights, {turned.data(), 1, rows}, rows, in, out);
  expect_products({y.data(), out, 1}, x, held, rows, in, out, what);
  for (int64_t r = 0; r < rows; r++) {
    along_rows(&at[r], held.weights, {alone.data(), out, 1}, 1, in, out);
    for (int64_t o = 0; o < out; o++)
      if (y[r * out + o] != alone[o] || y[r * out + o] != turned[o * rows + r]) expect_near(1, 0, 0, what + ", beside others");
  }
}

/** Many rows in panels, the outputs in two parts. */
void test_along_panels(const Held& held, int64_t in, int64_t out, int64_t rows, const std::string& what) {
  if (pairs_for(held.weights)) return test_along_pairs(held, in, out, rows, what);
  const auto x = random_numbers(rows * in);
  std::vector<float> panels(panels_of(rows) * PANEL * in), y(rows * out);
  to_panels(rows_of(x, rows, in).data(), panels.data(), rows, in);
  for (const auto [from, to] : {std::pair{int64_t{0}, out / 3}, {out / 3, out}})
    (PROCESSOR.avx512f ? along_panels_wide : along_panels_narrow)(panels.data(), held.weights, {y.data(), 1, rows}, rows, in, from, to);
  expect_products({y.data(), 1, rows}, x, held, rows, in, out, what + ", rows in panels");
}

/** Many rows by tiles, the outputs in two parts. */
void test_tiles(const Held& held, int64_t in, int64_t out, int64_t rows, const std::string& what) {
  const auto x = random_numbers(rows * in);
  Room room;
  uint32_t* const tiles = room.words(panels_of(rows) * tile_words(in));
  to_tiles(rows_of(x, rows, in).data(), tiles, rows, in);
  std::vector<float> y(rows * out);
  for (const auto [from, to] : {std::pair{int64_t{0}, out / 3}, {out / 3, out}})
    along_tiles(tiles, held.weights, {y.data(), 1, rows}, rows, in, from, to);
  expect_products({y.data(), 1, rows}, x, held, rows, in, out, what + ", tiles");
}

void test_widening(const Held& held, int64_t in, int64_t out, const std::string& what) {
  for (int64_t o = 0; o < out; o++) {
    std::vector<float> row(in);
    widened(held.weights.at(o), in, row.data());
    for (int64_t i = 0; i < in; i++) {
      if (row[i] != static_cast<float>(held.numbers[o * in + i])) expect_near(row[i], held.numbers[o * in + i], 0, what + ", widened");
    }
  }
}

/** Panels of rows by weights, through both of an expert's halves, in two parts of its channels. */
void test_panels(const Held& gate_up, const Held& down, int64_t D, int64_t H, int64_t rows, const std::string& what) {
  if (pairs_for(gate_up.weights)) return test_expert_in_pairs(gate_up, down, D, H, rows, what);
  const auto numbers = random_numbers(rows * D);
  const auto x = rows_of(numbers, rows, D);
  std::vector<float> panels(panels_of(rows) * PANEL * D), y(rows * D), weight(rows, 1);
  std::vector<float*> to;
  for (int64_t r = 0; r < rows; r++) to.push_back(&y[r * D]);
  const bool tiles = tiles_for(gate_up.weights);
  Room of_x, of_hidden;
  uint32_t* const x_tiles = of_x.words(panels_of(rows) * tile_words(D));
  if (tiles) to_tiles(x.data(), x_tiles, rows, D);
  else to_panels(x.data(), panels.data(), rows, D);
  const int64_t unit = tiles ? std::max(BLOCK, down.weights.cut()) : down.weights.cut(), middle = H / 2 / unit * unit;
  for (const auto [begin, end] : {std::pair{int64_t{0}, middle}, {middle, H}}) {
    const Between part{H, begin, end};
    if (tiles) {
      uint32_t* const hidden = of_hidden.words(panels_of(rows) * tile_words(part.size()));
      const int64_t cut = begin + (end - begin) / 2 / BLOCK * BLOCK;
      gated_tiles(x_tiles, gate_up.weights, hidden, rows, D, part, begin, cut);
      gated_tiles(x_tiles, gate_up.weights, hidden, rows, D, part, cut, end);
      add_down_tiles(hidden, down.weights, weight.data(), to.data(), rows, part, 0, D / 2);
      add_down_tiles(hidden, down.weights, weight.data(), to.data(), rows, part, D / 2, D);
      continue;
    }
    std::vector<float> hidden(panels_of(rows) * PANEL * std::max<int64_t>(1, part.size()));
    (PROCESSOR.avx512f ? gated_wide : gated_narrow)(panels.data(), gate_up.weights, hidden.data(), rows, D, part, begin, end);
    (PROCESSOR.avx512f ? add_down_wide : add_down_narrow)(hidden.data(), down.weights, weight.data(), to.data(), rows, part, 0, D);
  }
  for (int64_t r = 0; r < rows; r++) {
    std::vector<double> hidden(H);
    for (int64_t h = 0; h < H; h++) {
      double gate = 0, up = 0;
      for (int64_t i = 0; i < D; i++) {
        gate += x[r][i] * gate_up.numbers[h * D + i];
        up += x[r][i] * gate_up.numbers[(H + h) * D + i];
      }
      hidden[h] = gate / (1 + std::exp(-gate)) * up;
    }
    for (int64_t d = 0; d < D; d++) {
      double sum = 0, magnitude = 0;
      for (int64_t h = 0; h < H; h++) {
        sum += hidden[h] * down.numbers[d * H + h];
        magnitude += std::abs(hidden[h] * down.numbers[d * H + h]);
      }
      expect_near(y[r * D + d], sum, 10 * magnitude, what + ", panels");
    }
  }
}

/** That row's only number that is not zero, at `at`, is `expected`, widened and multiplied with ones. */
void expect_number(const Weights& row, int64_t in, int64_t at, float expected, const std::string& what) {
  const std::vector<float> ones(in, 1);
  const float* const x = ones.data();
  std::vector<float> wide(in);
  float y;
  along_rows(&x, row, {&y, 1, 1}, 1, in, 1);
  widened(row, in, wide.data());
  for (const float actual : {y, wide[at]})
    if (std::isnan(expected) ? !std::isnan(actual) : actual != expected) expect_near(1, 0, 0, what);
}

/** Every e4m3 and every scale of e2m1, in any place of a row of three groups. */
void test_each_minifloat(const std::string& processor) {
  for (int bits = 0; bits < 256; bits++) {
    const std::string what = processor + ", minifloat " + std::to_string(bits);
    for (const int64_t in : {95, 96}) {
      std::vector<uint8_t> row(in, 0);
      for (const float two : {2.f, 2.f, 2.f}) add(row, &two, sizeof(two));
      const int64_t at = random_size(0, in - 1);
      row[at] = bits;
      expect_number({Format::FP8, row.data(), in, 8, 32}, in, at, (bits & 127) == 127 ? NAN : 2 * minifloat(bits, 4, 3, 7), what);
    }
    std::vector<uint8_t> row(96 / 2 + 96 / 32, 0);
    const int64_t at = random_size(0, 95);
    row[at / 2] = 5 << (at % 2 * 4); // 3
    row[96 / 2 + at / 32] = bits;
    expect_number({Format::MXFP4, row.data(), 96, 4, 32}, 96, at, bits == 255 ? NAN : std::ldexp(3.f, bits - 127), what);
  }
}

void test_minifloats(const std::string& processor, int64_t rows, int64_t many) {
  const int64_t in = random_size(1, 300), out = random_size(1, 12), D = random_size(1, 70), H = random_size(1, 50);
  const auto test = [&](const Held& held, int64_t in, const std::string& what) {
    test_along(held, in, out, rows, what);
    test_widening(held, in, out, what);
    test_along_panels(held, in, out, many, what);
    if (tiles_for(held.weights)) test_tiles(held, in, out, many, what);
  };
  for (const int64_t group : {16, 32, 128}) {
    const std::string what = processor + ", fp8 in groups of " + std::to_string(group);
    test(fp8_of(group, in, out), in, what);
    test_panels(fp8_of(group, D, 2 * H), fp8_of(group, H, D), D, H, many, what);
  }
  const int64_t groups = random_size(1, 9), of_D = 32 * random_size(1, 3), of_H = 32 * random_size(1, 3);
  test(mxfp4_of(32 * groups, out, true), 32 * groups, processor + ", mxfp4");
  test_panels(mxfp4_of(of_D, 2 * of_H), mxfp4_of(of_H, of_D), of_D, of_H, many, processor + ", mxfp4");
}

void test_all(const std::string& processor) {
  test_each_minifloat(processor);
  if (PROCESSOR.bf16) test_rounding(processor);

  for (int round = 0; round < 12; round++) {
    const int64_t in = random_size(1, 300), out = random_size(1, 12), rows = random_size(1, 9);
    const int64_t D = random_size(1, 70), H = random_size(1, 50), many = random_size(1, 40);
    for (const Format format : {Format::FLOAT32, Format::BFLOAT16, Format::FLOAT16}) {
      const auto make = [&](int64_t in, int64_t out) { return format == Format::FLOAT32 ? floats_of(in, out) : halves_of(format, in, out); };
      const std::string what = processor + ", format " + std::to_string(static_cast<int>(format));
      const Held held = make(in, out);
      test_along(held, in, out, rows, what);
      test_widening(held, in, out, what);
      test_along_panels(held, in, out, many, what);
      const Held wide = make(in, 5 * out);
      if (tiles_for(wide.weights)) test_tiles(wide, in, 5 * out, many, what);
      test_panels(make(D, 2 * H), make(H, D), D, H, many, what);
    }
    for (const int bits : {8, 4})
      for (const int64_t group : {32, 64, 128, 256}) {
        const int64_t in = group * random_size(1, 5), D = group * random_size(1, 2), H = group * random_size(1, 2);
        const std::string what = processor + ", " + std::to_string(bits) + " bits in groups of " + std::to_string(group);
        const Held held = groups_of(bits, group, in, out);
        test_along(held, in, out, rows, what);
        test_widening(held, in, out, what);
        test_along_panels(held, in, out, many, what);
        if (tiles_for(held.weights)) test_tiles(held, in, out, many, what);
        if (group <= 64) test_panels(groups_of(bits, group, D, 2 * H), groups_of(bits, group, H, D), D, H, many, what);
      }
    test_minifloats(processor, rows, many);
  }
}

}  // namespace

int main() {
  const Processor has = PROCESSOR;
  const std::vector<std::pair<std::string, Processor>> kinds{
    {"plain", {}}, {"AVX2", {true}}, {"AVX-512", {true, true}}, {"VNNI", {true, true, true}}, {"BF16", {true, true, true, true}}, {"AMX", {true, true, true, true, true}}
  };
  for (const auto& [name, kind] : kinds) {
    if ((kind.avx2 && !has.avx2) || (kind.avx512f && !has.avx512f) || (kind.vnni && !has.vnni) || (kind.bf16 && !has.bf16) || (kind.amx && !has.amx)) continue;
    PROCESSOR = kind;
    test_all(name);
    std::printf("%s\n", name.c_str());
  }
  return failures > 0 ? 1 : 0;
}
