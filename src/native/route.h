#pragma once
#include <cmath>

#include "call.h"

namespace {

/**
 * A router's choice from logits [T, E]: the k largest of a row in order, of equal ones the first -> expertWeights and expertIndices
 * [T, k]; the weights are the softmax of all logits of the row, or of the chosen.
 */
struct Route {
  int64_t k = 0;
  TF_Bool of_chosen = 0;

  void compute(Call& call) const {
    std::vector<int64_t> shape;
    const float* logits = call.input(0, &shape);
    const int64_t T = shape[0], E = shape[1];
    if (k > E) throw std::runtime_error("TinymoeRoute: more experts are to be chosen than there are");
    float* weights = call.output({T, k});
    int32_t* indices = call.output<int32_t>({T, k}, 1);
    for (int64_t t = 0; t < T; t++, logits += E, weights += k, indices += k) {
      choose(logits, E, indices);
      float sum = 0;
      for (int64_t i = 0; i < k; i++) sum += weights[i] = std::exp(logits[indices[i]] - logits[indices[0]]);
      if (!of_chosen) sum = sum_of_all(logits, E, logits[indices[0]]);
      for (int64_t i = 0; i < k; i++) weights[i] /= sum;
    }
  }

 private:
  void choose(const float* logits, int64_t E, int32_t* indices) const {
    std::vector<bool> taken(E);
    for (int64_t i = 0; i < k; i++) {
      int32_t best = -1;
      for (int32_t e = 0; e < E; e++)
        if (!taken[e] && (best < 0 || logits[e] > logits[best])) best = e;
      taken[best] = true;
      indices[i] = best;
    }
  }

  static float sum_of_all(const float* logits, int64_t E, float most) {
    float sum = 0;
    for (int64_t e = 0; e < E; e++) sum += std::exp(logits[e] - most);
    return sum;
  }
};

}  // namespace
