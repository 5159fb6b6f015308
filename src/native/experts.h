#pragma once
#include <optional>

#include "call.h"
#include "groups.h"
#include "pairs.h"
#include "tiles.h"

namespace {

/** The rows that one expert is given: where they stand, where what it makes of each is added, and with which weight. */
struct Group {
  int64_t expert;
  bool in_panels; // or in pairs or tiles; else row by row, reading weights in one stream
  bool rounds;    // rows in panels may be rounded
  Weights gate_up, down;
  std::vector<const float*> from;
  std::vector<float*> to;
  std::vector<float> weights;
  /** Of row by row alone: the bounds between the matrices, and what is added after the second one. */
  std::optional<Clamp> clamp = {};
  const float* down_bias = nullptr;

  bool in_tiles() const { return in_panels && tiles_for(gate_up) && tiles_for(down); }
  bool in_pairs() const { return in_panels && rounds && pairs_for(gate_up) && pairs_for(down); }
  /** Words that its rows of n numbers take, whole panels of them. */
  int64_t words(int64_t n) const { return panels_of(from.size()) * (in_tiles() ? tile_words(n) : PANEL * (in_pairs() ? pairs_of(n) : n)); }
  /** What a part may be cut into: whole numbers of so many channels. */
  int64_t unit() const { return in_tiles() ? BLOCK : in_pairs() ? 2 : 1; }
};

/** Channels `from` to before `to`, within a part, of what is between the group's matrices: rows of the part, or panels of them. */
void make_hidden(const Group& group, float* hidden, int64_t D, Between part, int64_t from, int64_t to) {
  const int64_t rows = group.from.size(), size = to - from;
  if (group.in_panels) {
    static thread_local Room kept;
    uint32_t *const x = kept.words(group.words(D)), *const words = reinterpret_cast<uint32_t*>(hidden);
    if (group.in_tiles()) {
      to_tiles(group.from.data(), x, rows, D);
      gated_tiles(x, group.gate_up, words, rows, D, part, from, to);
    } else if (group.in_pairs()) {
      to_pairs(group.from.data(), x, rows, D);
      gated_pairs(x, group.gate_up, words, rows, D, part, from, to);
    } else {
      float* const panels = reinterpret_cast<float*>(x);
      to_panels(group.from.data(), panels, rows, D);
      (PROCESSOR.avx512f ? gated_wide : gated_narrow)(panels, group.gate_up, hidden, rows, D, part, from, to);
    }
    return;
  }
  float* gate = hidden + from - part.begin;
  std::vector<float> up(rows * size);
  along_rows(group.from.data(), group.gate_up.at(from), {gate, part.size(), 1}, rows, D, size);
  along_rows(group.from.data(), group.gate_up.at(part.H + from), {up.data(), size, 1}, rows, D, size);
  for (int64_t r = 0; r < rows; r++) {
    float* const row = gate + r * part.size();
    if (group.clamp) clamped(row, &up[r * size], row, size, {group.clamp->limit, group.clamp->alpha, group.clamp->gate_bias + from, group.clamp->up_bias + from});
    else gated(row, &up[r * size], row, size);
  }
}

/** Adds channels `from` to before `to` of what the group makes of a part's `hidden` to the rows of y that it is for. */
void add_down(const Group& group, const float* hidden, Between part, int64_t from, int64_t to) {
  const int64_t rows = group.from.size(), size = to - from;
  if (group.in_tiles() || group.in_pairs()) {
    const auto add = group.in_tiles() ? add_down_tiles : add_down_pairs;
    add(reinterpret_cast<const uint32_t*>(hidden), group.down, group.weights.data(), group.to.data(), rows, part, from, to);
    return;
  }
  if (group.in_panels) {
    (PROCESSOR.avx512f ? add_down_wide : add_down_narrow)(hidden, group.down, group.weights.data(), group.to.data(), rows, part, from, to);
    return;
  }
  std::vector<float> made(rows * size);
  const auto at = rows_of(hidden, rows, part.size());
  along_rows(at.data(), group.down.at(from, part.begin), {made.data(), size, 1}, rows, part.size(), size);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t d = 0; d < size; d++) {
      const float bias = group.down_bias ? group.down_bias[from + d] : 0;
      group.to[r][from + d] += group.weights[r] * (made[r * size + d] + bias);
    }
}

/**
 * y [T, D] = the sum of what the groups' experts, `down(silu(gate(x)) * up(x))`, make of their rows; of the channels between an
 * expert's matrices a part, so that the sum of all parts is the whole.
 */
void add_experts(const std::vector<Group>& groups, float* y, int64_t T, int64_t D, Between part) {
  static thread_local Room kept;
  const int64_t size = part.size();
  std::vector<int64_t> starts{0};
  for (const Group& group : groups) starts.push_back(starts.back() + group.words(size));
  float* hidden = reinterpret_cast<float*>(kept.words(starts.back())); // the other threads' `kept` is another

  const bool shared = size == part.H; // else other threads have the other parts
  const int64_t cuts = shared ? parts_of(2 * size * D, size) : 1;
  Threads::shared().run(groups.size() * cuts, shared, [&](int64_t i) {
    const int64_t g = i / cuts, unit = groups[g].unit(), units = (size + unit - 1) / unit;
    const auto begin = [&](int64_t cut) { return part.begin + std::min(size, units * cut / cuts * unit); };
    make_hidden(groups[g], hidden + starts[g], D, part, begin(i % cuts), begin(i % cuts + 1));
  });
  const int64_t parts = shared ? parts_of(size * D, D) : 1;
  Threads::shared().run(parts, shared, [&](int64_t i) {
    const int64_t from = D * i / parts, to = D * (i + 1) / parts;
    for (int64_t t = 0; t < T; t++) std::fill(y + t * D + from, y + t * D + to, 0.f);
    for (size_t g = 0; g < groups.size(); g++) add_down(groups[g], hidden + starts[g], part, from, to);
  });
}

/** Rows x [T, D], where what is made of them is added, y [T, D], and who makes it, indices and weights [T, K]. */
struct Chosen {
  const float* x;
  float* y;
  const int32_t* indices;
  const float* weights;
  int64_t T, K, D;
};

/** A group for each of E experts that has rows. */
std::vector<Group> chosen_groups(int64_t E, const Weights& gate_up, const Weights& down, int64_t H, const Chosen& chosen) {
  const auto [x, y, indices, weights, T, K, D] = chosen;
  std::vector<Group> groups;
  for (int64_t e = 0; e < E; e++) {
    Group group{e, false, false, gate_up.at(e * 2 * H), down.at(e * D), {}, {}, {}};
    for (int64_t i = 0; i < T * K; i++) {
      if (indices[i] != e) continue;
      group.from.push_back(x + i / K * D);
      group.to.push_back(y + i / K * D);
      group.weights.push_back(weights[i]);
    }
    if (!group.from.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

/** A layer's chosen experts: x [T, D], gateUp [E, 2H, D], down [E, D, H], expertIndices and expertWeights [T, K] -> [T, D], to which `joins` more are added. */
struct Experts {
  int64_t joins = 0;
  int64_t part = 0, parts = 1; // of the channels between each expert's matrices
  RowsOutside outside;
  Groups groups_of;

  void compute(Call& call) const {
    std::vector<int64_t> rows, matrices, chosen;
    const float* x = call.input(0, &rows);
    const int64_t T = rows[0], D = rows[1];
    const Weights gate_up = call.weights(1, D, groups_of, &matrices);
    const int64_t E = matrices[0], H = matrices[1] / 2;
    const Weights down = call.weights(2, H, groups_of);
    const int32_t* indices = call.input<int32_t>(3, &chosen);
    const float* weights = call.input(4);
    const int64_t K = chosen[1];
    float* y = call.output({T, D});
    std::vector<Group> groups = chosen_groups(E, gate_up, down, H, {x, y, indices, weights, T, K, D});
    for (Group& group : groups) {
      group.in_panels = outside.exceeded(group.from.size(), down);
      group.rounds = outside.rounds != 0;
    }
    const int64_t unit = tiles_for(down) ? std::max(down.cut(), BLOCK) : down.cut(), units = (H + unit - 1) / unit;
    const auto begin = [&](int64_t of) { return std::min(H, units * of / parts * unit); };
    add_experts(groups, y, T, D, {H, begin(part), begin(part + 1)});
    for (int64_t i = 0; i < joins; i++) call.add(5 + i, y, T, D);
  }
};

/**
 * The same of experts with biases and bounds, for few rows: x [T, D], gateUp [E, 2H, D] and its bias [E, 2H], down [E, D, H] and its bias
 * [E, D], expertIndices and expertWeights [T, K] -> [T, D].
 */
struct ClampedExperts {
  float limit = 0, alpha = 0;
  Groups groups_of;

  void compute(Call& call) const {
    std::vector<int64_t> rows, matrices, chosen;
    const float* x = call.input(0, &rows);
    const int64_t T = rows[0], D = rows[1];
    const Weights gate_up = call.weights(1, D, groups_of, &matrices);
    const int64_t E = matrices[0], H = matrices[1] / 2;
    const float* gate_up_bias = call.input(2);
    const Weights down = call.weights(3, H, groups_of);
    const float* down_bias = call.input(4);
    const int32_t* indices = call.input<int32_t>(5, &chosen);
    const float* weights = call.input(6);
    float* y = call.output({T, D});
    std::vector<Group> groups = chosen_groups(E, gate_up, down, H, {x, y, indices, weights, T, chosen[1], D});
    for (Group& group : groups) {
      const float* const gate_bias = gate_up_bias + group.expert * 2 * H;
      group.clamp = {limit, alpha, gate_bias, gate_bias + H};
      group.down_bias = down_bias + group.expert * D;
    }
    add_experts(groups, y, T, D, {H, 0, H});
  }
};

/** One expert for all rows: x [T, D], gateUp [2H, D], down [D, H] -> [T, D]. */
struct Expert {
  RowsOutside outside;
  Groups groups_of;

  void compute(Call& call) const {
    std::vector<int64_t> rows, matrix;
    const float* x = call.input(0, &rows);
    const int64_t T = rows[0], D = rows[1];
    const Weights gate_up = call.weights(1, D, groups_of, &matrix);
    const int64_t H = matrix[0] / 2;
    const Weights down = call.weights(2, H, groups_of);
    float* y = call.output({T, D});
    Group all{0, outside.exceeded(T, down), outside.rounds != 0, gate_up, down, rows_of(x, T, D), {}, std::vector<float>(T, 1)};
    for (int64_t t = 0; t < T; t++) all.to.push_back(y + t * D);
    add_experts({all}, y, T, D, {H, 0, H});
  }
};

/** Gate above up [2H, n] -> silu(gate) * up [H, n]. In one thread: many experts do it side by side. */
struct Gated {
  void compute(Call& call) const {
    std::vector<int64_t> shape;
    const float* both = call.input(0, &shape);
    shape[0] /= 2;
    const int64_t size = numbers_of(shape);
    gated(both, both + size, call.output(shape), size);
  }
};

/**
 * What each expert made of its rows [D, rows of it], in the order of experts; where in that order each of the T K assignments
 * stands; expertWeights [T, K] -> the weighted sums [T, D].
 */
struct Combine {
  int64_t experts = 0;

  void compute(Call& call) const {
    std::vector<int64_t> chosen;
    const int32_t* place = call.input<int32_t>(experts);
    const float* weights = call.input(experts + 1, &chosen);
    const int64_t T = chosen[0], K = chosen[1];
    std::vector<Made> made(T * K);
    int64_t D = 0, next = 0;
    for (int64_t e = 0; e < experts; e++) {
      std::vector<int64_t> shape;
      const float* of_expert = call.input(e, &shape);
      D = shape[0];
      if (next + shape[1] > T * K) throw std::runtime_error("TinymoeCombine: experts made more rows than they were given");
      for (int64_t c = 0; c < shape[1]; c++) made[next++] = {of_expert + c, shape[1], nullptr, 0};
    }
    if (next < T * K) throw std::runtime_error("TinymoeCombine: experts made fewer rows than they were given");
    float* y = call.output({T, D});
    for (int64_t i = 0; i < T * K; i++) {
      made[place[i]].y = y + i / K * D;
      made[place[i]].weight = weights[i];
    }
    const int64_t parts = parts_of(T * K * D, (D + 15) / 16);
    Threads::shared().run(parts, [&](int64_t i) {
      const int64_t from = D * i / parts, to = D * (i + 1) / parts;
      for (int64_t t = 0; t < T; t++) std::fill(y + t * D + from, y + t * D + to, 0.f);
      combine(made, from, to);
    });
  }
};

}  // namespace
