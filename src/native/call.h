#pragma once
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "tensorflow/c/c_api.h"
#define IS_SLIM_BUILD // leaves out a header that TensorFlow's wheel lacks
#include "tensorflow/c/kernels.h"
#include "threads.h"
#include "tiles.h"

namespace {

int64_t numbers_of(const std::vector<int64_t>& shape) {
  int64_t numbers = 1;
  for (const int64_t size : shape) numbers *= size;
  return numbers;
}

/** How weights that come as bytes are held: in groups of so many numbers, of so many bits each, whole ones or floats. */
struct Groups {
  int64_t bits = 0, group = 0;
  TF_Bool floats = 0;
};

/** Up to how many rows weights are multiplied row by row, in one stream; of more, whether these may be rounded. */
struct RowsOutside {
  int64_t panels = 0, tiles = 0;
  TF_Bool rounds = 0;

  bool exceeded(int64_t rows, const Weights& weights) const {
    return rows > (weights.format == Format::BFLOAT16 && tiles_for(weights) ? tiles : panels);
  }
};

/** One call of a kernel: its inputs, and its output, which is made here. Throws what TensorFlow finds wrong. */
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
    check();
    held_.push_back(tensor);
    if (shape)
      for (int d = 0; d < TF_NumDims(tensor); d++) shape->push_back(TF_Dim(tensor, d));
    return static_cast<const Number*>(TF_TensorData(tensor));
  }

  /** Matrices of weights whose rows have `in` numbers. */
  Weights weights(int i, int64_t in, const Groups& groups, std::vector<int64_t>* shape = nullptr) {
    const void* data = input<uint8_t>(i, shape);
    const TF_DataType type = TF_TensorType(held_.back());
    if (type == TF_FLOAT) return {Format::FLOAT32, data, in};
    if (type == TF_BFLOAT16) return {Format::BFLOAT16, data, in};
    if (type == TF_HALF) return {Format::FLOAT16, data, in};
    const Format format = !groups.floats ? Format::GROUPS : groups.bits == 8 ? Format::FP8 : Format::MXFP4;
    if (groups.group < 1 || (format != Format::FP8 && in % groups.group != 0))
      throw std::runtime_error("weights in groups: rows are no whole number of them");
    return {format, data, in, static_cast<int>(groups.bits), groups.group};
  }

  /** Whether an input is float32. */
  bool is_float(int i) {
    input(i);
    return TF_TensorType(held_.back()) == TF_FLOAT;
  }

  /** Room for an output of floats, or of whole numbers of as many bits. */
  template <class Number = float> Number* output(const std::vector<int64_t>& shape, int i = 0) {
    const size_t bytes = numbers_of(shape) * sizeof(Number);
    TF_Tensor* tensor =
      TF_AllocateOutput(context_, i, std::is_same<Number, float>::value ? TF_FLOAT : TF_INT32, shape.data(), shape.size(), bytes, status_);
    check();
    held_.push_back(tensor);
    return static_cast<Number*>(TF_TensorData(tensor));
  }

  /** Adds an input to y [rows, columns]: one of as many numbers, a row, a column or a number. */
  void add(int i, float* y, int64_t rows, int64_t columns) {
    std::vector<int64_t> shape;
    const float* added = input(i, &shape);
    const int64_t numbers = numbers_of(shape), across = shape.empty() ? 1 : shape.back(), down = across > 0 ? numbers / across : 0;
    if (numbers == rows * columns && across == columns) {
      for (int64_t j = 0; j < numbers; j++) y[j] += added[j];
      return;
    }
    if ((across != columns && across != 1) || (down != rows && down != 1)) throw std::runtime_error("what is added has another shape");
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < columns; c++) y[r * columns + c] += added[(down == 1 ? 0 : r * across) + (across == 1 ? 0 : c)];
  }

 private:
  void check() const {
    if (TF_GetCode(status_) != TF_OK) throw std::runtime_error(TF_Message(status_));
  }

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

}  // namespace
