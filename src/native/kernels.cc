// Kernels made known to TensorFlow: of the few rows of a decoding step above all. Each computes what the graph's own ops beside it say.
#include "attention.h"
#include "call.h"
#include "demand.h"
#include "experts.h"
#include "route.h"

#include <cstdio>
#include <initializer_list>

#include "tensorflow/c/ops.h"

namespace {

/** [in, columns] -> [columns, in]. */
std::vector<float> turned(const float* x, int64_t in, int64_t columns) {
  std::vector<float> result(in * columns);
  for (int64_t i = 0; i < in; i++)
    for (int64_t c = 0; c < columns; c++) result[c * in + i] = x[i * columns + c];
  return result;
}

/**
 * One matrix by another: `x W`, `x W^T`, `W x^T` or `W x`, of few rows or columns x, or of many where W is not float32. W may be held in
 * any way where its rows [out, in] are multiplied; of two matrices of float32, W is the larger.
 */
struct Product {
  TF_Bool transposed = 0;
  int64_t joins = 0;
  RowsOutside outside;
  Groups groups;

  void compute(Call& call) const {
    std::vector<int64_t> left, right;
    const float* a = call.input(0, &left);
    const float* b = call.input(1, &right);
    const int64_t rows = left.rbegin()[1], columns = transposed ? right.rbegin()[1] : right.back();
    const bool left_is_x = call.is_float(0) && (!call.is_float(1) || rows <= columns);
    const int64_t in = left_is_x ? left.back() : transposed ? right.back() : right.rbegin()[1];
    std::vector<int64_t> shape(std::max(left.size(), right.size()), 1); // of stacks, those of one matrix
    shape.rbegin()[1] = rows;
    shape.back() = columns;
    float* y = call.output(shape);
    if (!left_is_x) {
      const std::vector<float> rows_of_right = transposed ? std::vector<float>() : turned(b, in, columns);
      along(transposed ? b : rows_of_right.data(), call.weights(0, in, groups), {y, 1, columns}, columns, in, rows);
    } else if (transposed) {
      along(a, call.weights(1, in, groups), {y, columns, 1}, rows, in, columns);
    } else {
      down(a, b, y, rows, in, columns);
    }
    for (int64_t i = 0; i < joins; i++) call.add(2 + i, y, rows, columns);
  }

 private:
  void along(const float* x, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) const {
    const auto at = rows_of(x, rows, in);
    if (tiles_for(weights) && outside.exceeded(rows, weights)) return along_in_tiles(at, weights, y, rows, in, out);
    if (weights.format != Format::FLOAT32 && rows > PANEL) return along_in_panels(at, weights, y, rows, in, out);
    const int64_t parts = parts_of(in * out, out);
    Threads::shared().run(parts, [&](int64_t i) {
      const int64_t from = out * i / parts, to = out * (i + 1) / parts;
      along_rows(at.data(), weights.at(from), {y.at + from * y.out_step, y.row_step, y.out_step}, rows, in, to - from);
    });
  }

  static void along_in_tiles(const std::vector<const float*>& at, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) {
    const uint32_t* const tiles = panels_in(to_tiles, tile_words(in), at, rows, in);
    const int64_t parts = parts_of(in * out, (out + 31) / 32);
    Threads::shared().run(parts, [&](int64_t i) { along_tiles(tiles, weights, y, rows, in, out * i / parts, out * (i + 1) / parts); });
  }

  /** A few rows of weights at a time are widened, not all of them. */
  void along_in_panels(const std::vector<const float*>& at, const Weights& weights, Products y, int64_t rows, int64_t in, int64_t out) const {
    constexpr int64_t KEPT = 3 << 17; // words of rows that stay in a cache while weights are widened
    const bool pairs = outside.rounds && pairs_for(weights);
    const int64_t words = PANEL * (pairs ? pairs_of(in) : in), panels = panels_of(rows), parts = parts_of(in * out, out);
    const auto to_floats = [](const float* const* x, uint32_t* panels, int64_t rows, int64_t in) { to_panels(x, reinterpret_cast<float*>(panels), rows, in); };
    const uint32_t* const x = pairs ? panels_in(to_pairs, words, at, rows, in) : panels_in(to_floats, words, at, rows, in);
    const int64_t together = std::max<int64_t>(2, KEPT / words);
    Threads::shared().run(parts, [&](int64_t i) {
      const int64_t from = out * i / parts, to = out * (i + 1) / parts;
      for (int64_t p = 0; p < panels; p += together) {
        const int64_t first = p * PANEL, some = std::min(rows - first, together * PANEL);
        const Products of_rows{y.at + first * y.row_step, y.row_step, y.out_step};
        if (pairs) along_pairs(x + p * words, weights, of_rows, some, in, from, to);
        else (PROCESSOR.avx512f ? along_panels_wide : along_panels_narrow)(reinterpret_cast<const float*>(x + p * words), weights, of_rows, some, in, from, to);
      }
    });
  }

  /** Rows in panels or tiles of so many words, made by all threads; kept until the next ones are. */
  template <class Make>
  static const uint32_t* panels_in(const Make& make, int64_t words, const std::vector<const float*>& at, int64_t rows, int64_t in) {
    static thread_local Room kept;
    const int64_t panels = panels_of(rows), pieces = parts_of(rows * in, panels);
    uint32_t* const all = kept.words(panels * words);
    Threads::shared().run(pieces, [&](int64_t i) {
      const int64_t from = panels * i / pieces, to = panels * (i + 1) / pieces;
      make(&at[from * PANEL], all + from * words, std::min(rows, to * PANEL) - from * PANEL, in);
    });
    return all;
  }

  /** Every part reads whole rows of weights, so each has sums of its own, which are added up at the end. */
  static void down(const float* x, const float* weights, float* y, int64_t rows, int64_t in, int64_t out) {
    const int64_t parts = parts_of(in * out, in), size = rows * out;
    std::vector<float> others((parts - 1) * size);
    const auto sums = [&](int64_t i) { return i == 0 ? y : &others[(i - 1) * size]; };
    Threads::shared().run(parts, [&](int64_t i) {
      down_rows(x, weights, sums(i), rows, in, out, in * i / parts, in * (i + 1) / parts);
    });
    for (int64_t i = 1; i < parts; i++)
      for (int64_t j = 0; j < size; j++) y[j] += sums(i)[j];
  }
};

/** Weights [..., out, bytes of a row] in groups -> [..., out, in]. */
struct Widen {
  int64_t in = 0;
  Groups groups;

  void compute(Call& call) const {
    std::vector<int64_t> shape;
    const Weights weights = call.weights(0, in, groups, &shape);
    shape.back() = in;
    float* y = call.output(shape);
    const int64_t rows = numbers_of(shape) / std::max<int64_t>(1, in), parts = parts_of(rows * in, rows);
    Threads::shared().run(parts, [&](int64_t i) {
      for (int64_t r = rows * i / parts; r < rows * (i + 1) / parts; r++) widened(weights.at(r), in, y + r * in);
    });
  }
};

/** x [..., D], weight [D]. */
struct RmsNorm {
  float eps = 0;

  void compute(Call& call) const {
    std::vector<int64_t> shape;
    const float* x = call.input(0, &shape);
    const float* weight = call.input(1);
    const int64_t D = shape.back(), rows = numbers_of(shape) / std::max<int64_t>(1, D);
    float* y = call.output(shape);
    const int64_t parts = parts_of(rows * D, rows);
    Threads::shared().run(parts, [&](int64_t i) {
      const int64_t from = rows * i / parts, to = rows * (i + 1) / parts;
      rms_norm(x + from * D, weight, y + from * D, to - from, D, eps);
    });
  }
};

/** x [B, T, N, d], cos and sin of the same shape, or of one sequence for all. */
struct Rope {
  int64_t rotary = 0;

  void compute(Call& call) const {
    std::vector<int64_t> shape, tables;
    const float* x = call.input(0, &shape);
    const float* cos = call.input(1, &tables);
    const float* sin = call.input(2);
    const int64_t B = shape[0], T = shape[1], row = shape[2] * shape[3], heads = shape[2], d = shape[3];
    float* y = call.output(shape);
    const int64_t parts = parts_of(B * T * row, B * T);
    Threads::shared().run(parts, [&](int64_t i) {
      for (int64_t at = B * T * i / parts; at < B * T * (i + 1) / parts; at++) {
        const int64_t table = (tables[0] == 1 ? at % T : at) * row;
        rope(x + at * row, cos + table, sin + table, y + at * row, heads, d, rotary);
      }
    });
  }
};

/** Has JavaScript see to what these indices stand for; nodes behind it find it done. Its output is nothing. */
struct Demand {
  int64_t of = 0;

  void compute(Call& call) const {
    std::vector<int64_t> shape;
    const int32_t* indices = call.input<int32_t>(0, &shape);
    call.output({0});
    if (!tinymoe_demand(of, indices, numbers_of(shape))) throw std::runtime_error("TinymoeDemand: what was demanded failed");
  }
};

template <class Kernel> void compute(void* kernel, TF_OpKernelContext* context) {
  try {
    Call call(context);
    static_cast<const Kernel*>(kernel)->compute(call);
  } catch (const std::exception& error) {
    TF_Status* status = TF_NewStatus();
    TF_SetStatus(status, TF_INTERNAL, error.what());
    TF_OpKernelContext_Failure(context, status);
    TF_DeleteStatus(status);
  }
}

template <class Kernel> void destroy(void* kernel) { delete static_cast<Kernel*>(kernel); }

template <class Kernel> void* make(TF_OpKernelConstruction*) { return new Kernel(); }

/** Reads an attribute of a node by the function of the C API for its type. */
template <class Get, class Value> void read(Get get, TF_OpKernelConstruction* construction, const char* name, Value& value) {
  TF_Status* status = TF_NewStatus();
  get(construction, name, &value, status);
  TF_DeleteStatus(status);
}

void read(TF_OpKernelConstruction* construction, Groups& groups) {
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "bits", groups.bits);
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "group", groups.group);
  read(TF_OpKernelConstruction_GetAttrBool, construction, "floats", groups.floats);
}

void read(TF_OpKernelConstruction* construction, RowsOutside& outside) {
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "rows_outside_panels", outside.panels);
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "rows_outside_tiles", outside.tiles);
  read(TF_OpKernelConstruction_GetAttrBool, construction, "rounds", outside.rounds);
}

template <> void* make<Product>(TF_OpKernelConstruction* construction) {
  auto* product = new Product();
  read(TF_OpKernelConstruction_GetAttrBool, construction, "transposed", product->transposed);
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "joins", product->joins);
  read(construction, product->outside);
  read(construction, product->groups);
  return product;
}

template <> void* make<Widen>(TF_OpKernelConstruction* construction) {
  auto* widen = new Widen();
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "in", widen->in);
  read(construction, widen->groups);
  return widen;
}

template <> void* make<Experts>(TF_OpKernelConstruction* construction) {
  auto* experts = new Experts();
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "part", experts->part);
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "parts", experts->parts);
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "joins", experts->joins);
  read(construction, experts->outside);
  read(construction, experts->groups_of);
  return experts;
}

template <> void* make<ClampedExperts>(TF_OpKernelConstruction* construction) {
  auto* experts = new ClampedExperts();
  read(TF_OpKernelConstruction_GetAttrFloat, construction, "limit", experts->limit);
  read(TF_OpKernelConstruction_GetAttrFloat, construction, "alpha", experts->alpha);
  read(construction, experts->groups_of);
  return experts;
}

template <> void* make<Expert>(TF_OpKernelConstruction* construction) {
  auto* expert = new Expert();
  read(construction, expert->outside);
  read(construction, expert->groups_of);
  return expert;
}

template <> void* make<Attention>(TF_OpKernelConstruction* construction) {
  auto* attention = new Attention();
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "width", attention->width);
  return attention;
}

template <> void* make<CachedAttention>(TF_OpKernelConstruction* construction) {
  auto* attention = new CachedAttention();
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "rotary", attention->rotary);
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "turns", attention->turns);
  return attention;
}

template <> void* make<Route>(TF_OpKernelConstruction* construction) {
  auto* route = new Route();
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "k", route->k);
  read(TF_OpKernelConstruction_GetAttrBool, construction, "of_chosen", route->of_chosen);
  return route;
}

template <> void* make<RmsNorm>(TF_OpKernelConstruction* construction) {
  auto* norm = new RmsNorm();
  read(TF_OpKernelConstruction_GetAttrFloat, construction, "eps", norm->eps);
  return norm;
}

template <> void* make<Rope>(TF_OpKernelConstruction* construction) {
  auto* rope = new Rope();
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "rotary", rope->rotary);
  return rope;
}

template <> void* make<Combine>(TF_OpKernelConstruction* construction) {
  auto* combine = new Combine();
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "experts", combine->experts);
  return combine;
}

template <> void* make<Demand>(TF_OpKernelConstruction* construction) {
  auto* demand = new Demand();
  read(TF_OpKernelConstruction_GetAttrInt64, construction, "of", demand->of);
  return demand;
}

/** Says on stderr what TensorFlow does not take; a graph that asks for it then fails, and says so too. */
void report(const char* name, TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) std::fprintf(stderr, "tinymoe: the kernel %s: %s\n", name, TF_Message(status));
}

/**
 * An op of its own, `name`, and its kernel. TensorFlow rewrites its own ops by the processor's features, and leaves these alone; one
 * that is there for its effect it may not leave out.
 */
template <class Kernel>
void add_op(
  const char* name, std::initializer_list<const char*> inputs, std::initializer_list<const char*> attributes = {},
  bool for_its_effect = false, std::initializer_list<const char*> outputs = {"y: float"}
) {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute : attributes) TF_OpDefinitionBuilderAddAttr(op, attribute);
  for (const char* input : inputs) TF_OpDefinitionBuilderAddInput(op, input);
  for (const char* output : outputs) TF_OpDefinitionBuilderAddOutput(op, output);
  TF_OpDefinitionBuilderSetIsStateful(op, for_its_effect);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, TF_ShapeInferenceContextSetUnknownShape);
  TF_RegisterOpDefinition(op, status);
  report(name, status);
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", make<Kernel>, compute<Kernel>, destroy<Kernel>), status);
  report(name, status);
  TF_DeleteStatus(status);
}

/** While the addon is being loaded. */
const bool added = [] {
  add_op<Product>(
    "TinymoeProduct", {"left: L", "right: R", "added: joins * float"}, {"joins: int >= 0 = 0", "L: type = DT_FLOAT", "R: type = DT_FLOAT", "transposed: bool", "rows_outside_panels: int", "rows_outside_tiles: int", "rounds: bool = false", "bits: int = 0", "group: int = 0", "floats: bool = false"}
  );
  add_op<Widen>("TinymoeWiden", {"weights: uint8"}, {"in: int", "bits: int", "group: int", "floats: bool = false"});
  add_op<Experts>(
    "TinymoeExperts", {"x: float", "gate_up: W", "down: W", "indices: int32", "weights: float", "added: joins * float"},
    {"joins: int >= 0 = 0", "W: type = DT_FLOAT", "part: int = 0", "parts: int = 1", "rows_outside_panels: int", "rows_outside_tiles: int", "rounds: bool = false", "bits: int = 0", "group: int = 0", "floats: bool = false"}
  );
  add_op<ClampedExperts>(
    "TinymoeClampedExperts", {"x: float", "gate_up: W", "gate_up_bias: float", "down: W", "down_bias: float", "indices: int32", "weights: float"},
    {"W: type = DT_FLOAT", "limit: float", "alpha: float", "bits: int = 0", "group: int = 0", "floats: bool = false"}
  );
  add_op<Expert>(
    "TinymoeExpert", {"x: float", "gate_up: W", "down: W"},
    {"W: type = DT_FLOAT", "rows_outside_panels: int", "rows_outside_tiles: int", "rounds: bool = false", "bits: int = 0", "group: int = 0", "floats: bool = false"}
  );
  add_op<Attention>("TinymoeAttention", {"queries: float", "keys: float", "values: float", "mask: float"}, {"width: int"});
  add_op<CachedAttention>(
    "TinymoeCachedAttention", {"x: float", "cache: float", "slots: int32", "mask: float", "tables: turns * float"}, {"turns: int >= 0", "rotary: int"}, true
  );
  add_op<Route>("TinymoeRoute", {"logits: float"}, {"k: int", "of_chosen: bool"}, false, {"weights: float", "indices: int32"});
  add_op<Gated>("TinymoeGated", {"gate_up: float"});
  add_op<RmsNorm>("TinymoeRmsNorm", {"x: float", "weight: float"}, {"eps: float"});
  add_op<Rope>("TinymoeRope", {"x: float", "cos: float", "sin: float"}, {"rotary: int"});
  add_op<Combine>("TinymoeCombine", {"made: experts * float", "place: int32", "weights: float"}, {"experts: int >= 1"});
  add_op<Demand>("TinymoeDemand", {"indices: int32"}, {"of: int"}, true);
  return true;
}();

}  // namespace
