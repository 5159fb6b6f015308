// Kernels made known to TensorFlow: of the few rows of a decoding step above all. Each computes what the graph's own ops beside it say.
#include "panels.h"
#include "threads.h"

#include <cstdio>
#include <initializer_list>

#include "tensorflow/c/c_api.h"
#define IS_SLIM_BUILD // leaves out a header that TensorFlow's wheel lacks
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"

namespace {

int64_t numbers_of(const std::vector<int64_t>& shape) {
  int64_t numbers = 1;
  for (const int64_t size : shape) numbers *= size;
  return numbers;
}

/** One call of a kernel: its inputs, and its output, which is made here. */
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context) {}
  ~Call() {
    for (TF_Tensor* tensor : held_) TF_DeleteTensor(tensor);
    TF_DeleteStatus(status_);
  }

  template <class Number = float> const Number* input(int i, std::vector<int64_t>* shape = nullptr) {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context_, i, &tensor, status_);
    held_.push_back(tensor);
    if (shape)
      for (int d = 0; d < TF_NumDims(tensor); d++) shape->push_back(TF_Dim(tensor, d));
    return static_cast<const Number*>(TF_TensorData(tensor));
  }

  float* output(const std::vector<int64_t>& shape) {
    const size_t bytes = numbers_of(shape) * sizeof(float);
    held_.push_back(TF_AllocateOutput(context_, 0, TF_FLOAT, shape.data(), shape.size(), bytes, status_));
    return static_cast<float*>(TF_TensorData(held_.back()));
  }

 private:
  TF_OpKernelContext* context_;
  TF_Status* status_ = TF_NewStatus();
  std::vector<TF_Tensor*> held_;
};

/** In how many parts so many weights are worth being shared; `most` of them can be cut. */
int64_t parts_of(int64_t numbers, int64_t most) {
  constexpr int64_t LEAST_NUMBERS = 1 << 14; // fewer are read before another thread has begun
  const int64_t threads = Threads::shared().count();
  if (threads == 1) return 1;
  return std::max<int64_t>(1, std::min({numbers / LEAST_NUMBERS, 2 * threads, most})); // two each, as no two take equally long
}

std::vector<const float*> rows_of(const float* x, int64_t rows, int64_t size) {
  std::vector<const float*> at(rows);
  for (int64_t r = 0; r < rows; r++) at[r] = x + r * size;
  return at;
}

/** One matrix by another, the right one transposed or not: `x W`, `x W^T`, `W x^T` or `W x`, of few rows or columns x. */
struct Product {
  TF_Bool transposed = 0;

  void compute(Call& call) const {
    std::vector<int64_t> left, right;
    const float* a = call.input(0, &left);
    const float* b = call.input(1, &right);
    const int64_t rows = left.rbegin()[1], in = left.back(), columns = transposed ? right.rbegin()[1] : right.back();
    std::vector<int64_t> shape(std::max(left.size(), right.size()), 1); // of stacks, those of one matrix
    shape.rbegin()[1] = rows;
    shape.back() = columns;
    float* y = call.output(shape);
    if (rows <= columns) {
      if (transposed) along(a, b, y, rows, in, columns, columns, 1);
      else down(a, b, y, rows, in, columns);
      return;
    }
    std::vector<float> turned;
    if (!transposed)
      for (int64_t c = 0; c < columns; c++)
        for (int64_t i = 0; i < in; i++) turned.push_back(b[i * columns + c]);
    along(transposed ? b : turned.data(), a, y, columns, in, rows, 1, columns);
  }

 private:
  static void along(
    const float* x, const float* weights, float* y, int64_t rows, int64_t in, int64_t out, int64_t row_step, int64_t out_step
  ) {
    const auto at = rows_of(x, rows, in);
    const int64_t parts = parts_of(in * out, out);
    Threads::shared().run(parts, [&](int64_t i) {
      const int64_t from = out * i / parts, to = out * (i + 1) / parts;
      along_rows(at.data(), weights + from * in, in, y + from * out_step, rows, in, to - from, row_step, out_step);
    });
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

/** The rows that one expert is given: where they stand, where what it makes of each is added, and with which weight. */
struct Group {
  const float* gate_up;
  const float* down;
  std::vector<const float*> from;
  std::vector<float*> to;
  std::vector<float> weights;
};

/** More rows than these an expert multiplies in panels; fewer take as long as reading the weights. */
constexpr int64_t FEW_ROWS = 16;

/** Channels `from` to before `to` of what is between the group's matrices, of all its rows: rows [H], or panels of them. */
void make_hidden(const Group& group, float* hidden, int64_t D, int64_t H, int64_t from, int64_t to) {
  const int64_t rows = group.from.size(), size = to - from;
  if (rows > FEW_ROWS) {
    static thread_local std::vector<float> panels; // kept: memory fresh from the system costs a fault a page
    panels.resize(std::max<size_t>(panels.size(), panels_of(rows) * PANEL * D));
    to_panels(group.from.data(), panels.data(), rows, D);
    (has_wide() ? gated_wide : gated_narrow)(panels.data(), group.gate_up, hidden, rows, D, H, from, to);
    return;
  }
  std::vector<float> up(rows * size);
  along_rows(group.from.data(), group.gate_up + from * D, D, hidden + from, rows, D, size, H, 1);
  along_rows(group.from.data(), group.gate_up + (H + from) * D, D, up.data(), rows, D, size, size, 1);
  for (int64_t r = 0; r < rows; r++) gated(hidden + r * H + from, &up[r * size], hidden + r * H + from, size);
}

/** Adds channels `from` to before `to` of what the group makes of a part of `hidden` to the rows of y that it is for. */
void add_down(const Group& group, const float* hidden, Between part, int64_t from, int64_t to) {
  const int64_t rows = group.from.size(), size = to - from;
  if (rows > FEW_ROWS) {
    (has_wide() ? add_down_wide : add_down_narrow)(hidden, group.down, group.weights.data(), group.to.data(), rows, part, from, to);
    return;
  }
  const auto [H, begin, end] = part;
  std::vector<float> made(rows * size);
  const auto at = rows_of(hidden + begin, rows, H);
  along_rows(at.data(), group.down + from * H + begin, H, made.data(), rows, end - begin, size, size, 1);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t d = 0; d < size; d++) group.to[r][from + d] += group.weights[r] * made[r * size + d];
}

/**
 * y [T, D] = the sum of what the groups' experts, `down(silu(gate(x)) * up(x))`, make of their rows; of the channels between an
 * expert's matrices a part, so that the sum of all parts is the whole.
 */
void add_experts(const std::vector<Group>& groups, float* y, int64_t T, int64_t D, Between part) {
  static thread_local std::vector<float> all; // kept, as above
  const auto [H, begin, end] = part;
  std::vector<int64_t> starts{0};
  for (const Group& group : groups) starts.push_back(starts.back() + panels_of(group.from.size()) * PANEL * H);
  all.resize(std::max<size_t>(all.size(), starts.back()));
  float* hidden = all.data(); // the other threads' `all` is another

  const bool shared = end - begin == H; // else other threads have the other parts
  const int64_t cuts = shared ? parts_of(2 * H * D, H) : 1, size = end - begin;
  Threads::shared().run(groups.size() * cuts, shared, [&](int64_t i) {
    const int64_t g = i / cuts, cut = i % cuts;
    make_hidden(groups[g], hidden + starts[g], D, H, begin + size * cut / cuts, begin + size * (cut + 1) / cuts);
  });
  const int64_t parts = shared ? parts_of(H * D, D) : 1;
  Threads::shared().run(parts, shared, [&](int64_t i) {
    const int64_t from = D * i / parts, to = D * (i + 1) / parts;
    for (int64_t t = 0; t < T; t++) std::fill(y + t * D + from, y + t * D + to, 0.f);
    for (size_t g = 0; g < groups.size(); g++) add_down(groups[g], hidden + starts[g], part, from, to);
  });
}

/** A layer's chosen experts: x [T, D], gateUp [E, 2H, D], down [E, D, H], expertIndices and expertWeights [T, K] -> [T, D]. */
struct Experts {
  int64_t part = 0, parts = 1; // of the channels between each expert's matrices

  void compute(Call& call) const {
    std::vector<int64_t> rows, matrices, chosen;
    const float* x = call.input(0, &rows);
    const float* gate_up = call.input(1);
    const float* down = call.input(2, &matrices);
    const int32_t* indices = call.input<int32_t>(3, &chosen);
    const float* weights = call.input(4);
    const int64_t T = rows[0], D = rows[1], E = matrices[0], H = matrices[2], K = chosen[1];
    float* y = call.output({T, D});
    std::vector<Group> groups;
    for (int64_t e = 0; e < E; e++) {
      Group group{gate_up + e * 2 * H * D, down + e * D * H, {}, {}, {}};
      for (int64_t i = 0; i < T * K; i++) {
        if (indices[i] != e) continue;
        group.from.push_back(x + i / K * D);
        group.to.push_back(y + i / K * D);
        group.weights.push_back(weights[i]);
      }
      if (!group.from.empty()) groups.push_back(std::move(group));
    }
    add_experts(groups, y, T, D, {H, H * part / parts, H * (part + 1) / parts});
  }
};

/** One expert for all rows: x [T, D], gateUp [2H, D], down [D, H] -> [T, D]. */
struct Expert {
  void compute(Call& call) const {
    std::vector<int64_t> rows, matrix;
    const float* x = call.input(0, &rows);
    const float* gate_up = call.input(1);
    const float* down = call.input(2, &matrix);
    const int64_t T = rows[0], D = rows[1], H = matrix[1];
    float* y = call.output({T, D});
    Group all{gate_up, down, rows_of(x, T, D), {}, std::vector<float>(T, 1)};
    for (int64_t t = 0; t < T; t++) all.to.push_back(y + t * D);
    add_experts({all}, y, T, D, {H, 0, H});
  }
};

/** queries [B, T, N, d], keys and values [B, Nk, S, d], mask [B or 1, 1, G T or 1, S], G = N / Nk -> [B, T, N, d]. */
struct Attention {
  void compute(Call& call) const {
    std::vector<int64_t> shape, stored, masked;
    const float* q = call.input(0, &shape);
    const float* keys = call.input(1, &stored);
    const float* values = call.input(2);
    const float* mask = call.input(3, &masked);
    const int64_t B = shape[0], T = shape[1], N = shape[2], d = shape[3], Nk = stored[1], S = stored[2], G = N / Nk;
    float* y = call.output(shape);
    Threads::shared().run(B * Nk, [&](int64_t i) {
      const int64_t b = i / Nk, first = i % Nk * G;
      std::vector<const float*> rows, hides;
      std::vector<float*> to;
      const float* of_sequence = mask + (masked[0] == 1 ? 0 : b) * masked[2] * S;
      for (int64_t g = 0; g < G; g++)
        for (int64_t t = 0; t < T; t++) {
          const int64_t at = ((b * T + t) * N + first + g) * d;
          rows.push_back(q + at);
          to.push_back(y + at);
          hides.push_back(of_sequence + (masked[2] == 1 ? 0 : g * T + t) * S);
        }
      attend(rows.data(), hides.data(), to.data(), G * T, keys + i * S * d, values + i * S * d, S, d);
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
      for (int64_t c = 0; c < shape[1]; c++) made[next++] = {of_expert + c, shape[1], nullptr, 0};
    }
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

template <class Kernel> void compute(void* kernel, TF_OpKernelContext* context) {
  Call call(context);
  static_cast<const Kernel*>(kernel)->compute(call);
}

template <class Kernel> void destroy(void* kernel) { delete static_cast<Kernel*>(kernel); }

template <class Kernel> void* make(TF_OpKernelConstruction*) { return new Kernel(); }

/** Makes a kernel and reads an attribute, by `get`, into where it belongs. */
template <class Kernel, auto get, auto member> void* make_with(TF_OpKernelConstruction* construction, const char* attribute) {
  TF_Status* status = TF_NewStatus();
  auto* kernel = new Kernel();
  get(construction, attribute, &(kernel->*member), status);
  TF_DeleteStatus(status);
  return kernel;
}

using Create = void* (*)(TF_OpKernelConstruction*);

void* make_product(TF_OpKernelConstruction* c, const char* transposed) {
  return make_with<Product, TF_OpKernelConstruction_GetAttrBool, &Product::transposed>(c, transposed);
}

/** Says on stderr what TensorFlow does not take; a graph that asks for it then fails, and says so too. */
void report(const char* name, TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) std::fprintf(stderr, "tinymoe: the kernel %s: %s\n", name, TF_Message(status));
}

void* make_experts(TF_OpKernelConstruction* construction) {
  TF_Status* status = TF_NewStatus();
  auto* experts = new Experts();
  TF_OpKernelConstruction_GetAttrInt64(construction, "part", &experts->part, status);
  TF_OpKernelConstruction_GetAttrInt64(construction, "parts", &experts->parts, status);
  TF_DeleteStatus(status);
  return experts;
}

/** One more kernel for an op of TensorFlow's: nodes get it that ask for it by this label (`_kernel`). */
void add_product(const char* op, Create create) {
  TF_Status* status = TF_NewStatus();
  TF_KernelBuilder* builder = TF_NewKernelBuilder(op, "CPU", create, compute<Product>, destroy<Product>);
  TF_KernelBuilder_TypeConstraint(builder, "T", TF_FLOAT, status);
  TF_KernelBuilder_Label(builder, "tinymoe");
  TF_RegisterKernelBuilder(op, builder, status);
  report(op, status);
  TF_DeleteStatus(status);
}

/** An op of its own, `name`, and its kernel. */
template <class Kernel>
void add_op(
  const char* name, std::initializer_list<const char*> inputs, Create create = make<Kernel>,
  std::initializer_list<const char*> attributes = {}
) {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute : attributes) TF_OpDefinitionBuilderAddAttr(op, attribute);
  for (const char* input : inputs) TF_OpDefinitionBuilderAddInput(op, input);
  TF_OpDefinitionBuilderAddOutput(op, "y: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, TF_ShapeInferenceContextSetUnknownShape);
  TF_RegisterOpDefinition(op, status);
  report(name, status);
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", create, compute<Kernel>, destroy<Kernel>), status);
  report(name, status);
  TF_DeleteStatus(status);
}

/** While the addon is being loaded. */
const bool added = [] {
  add_product("MatMul", [](TF_OpKernelConstruction* c) { return make_product(c, "transpose_b"); });
  add_product("BatchMatMulV2", [](TF_OpKernelConstruction* c) { return make_product(c, "adj_y"); });
  add_op<Experts>(
    "TinymoeExperts", {"x: float", "gate_up: float", "down: float", "indices: int32", "weights: float"}, make_experts,
    {"part: int = 0", "parts: int = 1"}
  );
  add_op<Expert>("TinymoeExpert", {"x: float", "gate_up: float", "down: float"});
  add_op<Attention>("TinymoeAttention", {"queries: float", "keys: float", "values: float", "mask: float"});
  add_op<Gated>("TinymoeGated", {"gate_up: float"});
  add_op<RmsNorm>(
    "TinymoeRmsNorm", {"x: float", "weight: float"},
    [](TF_OpKernelConstruction* c) { return make_with<RmsNorm, TF_OpKernelConstruction_GetAttrFloat, &RmsNorm::eps>(c, "eps"); },
    {"eps: float"}
  );
  add_op<Rope>(
    "TinymoeRope", {"x: float", "cos: float", "sin: float"},
    [](TF_OpKernelConstruction* c) { return make_with<Rope, TF_OpKernelConstruction_GetAttrInt64, &Rope::rotary>(c, "rotary"); },
    {"rotary: int"}
  );
  add_op<Combine>(
    "TinymoeCombine", {"made: experts * float", "place: int32", "weights: float"},
    [](TF_OpKernelConstruction* c) { return make_with<Combine, TF_OpKernelConstruction_GetAttrInt64, &Combine::experts>(c, "experts"); },
    {"experts: int >= 1"}
  );
  return true;
}();

}  // namespace
