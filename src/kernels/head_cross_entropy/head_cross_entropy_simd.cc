#include "kernels/head_cross_entropy/head_cross_entropy_levels.h"
#include "kernels/simd/vec.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

using namespace simd::FATHOM_SIMD_LEVEL;

RowSoftmax cross_entropy_row(const float* logits, int64_t vocab) {
  Vec largest = broadcast(-__builtin_inff()), total = {}, logit_sum = {};
  for (int64_t v = 0; v < vocab; v += kLanes) {
    const int64_t n = lanes_left(vocab - v);
    const Vec l = load_n(logits + v, n);
    largest = max(largest, select(first_lanes(n), l, largest));
    logit_sum = logit_sum + l;
  }
  const float top = max_lane(largest);
  for (int64_t v = 0; v < vocab; v += kLanes) {
    const int64_t n = lanes_left(vocab - v);
    total = total + select(first_lanes(n), exp(load_n(logits + v, n) - top), Vec{});
  }
  return {top, sum(total), sum(logit_sum) / (float)vocab};
}

void cross_entropy_grad_row(float* logits, int64_t vocab, float lse, float scale, float uniform) {
  for (int64_t v = 0; v < vocab; v += kLanes) {
    const int64_t n = lanes_left(vocab - v);
    store_n(logits + v, (exp(load_n(logits + v, n) - lse) - uniform) * scale, n);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
