// What one token costs in a model whose tokens take different depths: an exact count along a sequence, where
// count_flops() (plan/count.h) is a mean over the shares that the plan expects.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/model_plan.h"

namespace fathom {

class TokenFlops {
 public:
  explicit TokenFlops(const ModelPlan& plan);

  // Floating-point operations (a multiply-add is two) of the next token of the sequence, its logits counted.
  // `depth`: passes that it makes through routed segments; without a router it does not matter. Attention is
  // counted over the keys that there are: those of tokens that came to the same depth, or of all tokens where
  // recursions share keys.
  double next(int32_t depth);

  // Of a token whose `depth` is the deepest, at the same place.
  double full() const { return full_; }

 private:
  struct AttentionCost {
    double per_key = 0;
    int64_t window = 0;      // 0: all
    int32_t own_depth = -1;  // whose tokens' keys are attended; -1: all tokens'
    int32_t from_depth = 0;  // tokens that make more passes than this pay; -1: all do
  };
  double cost(int32_t depth) const;

  int32_t most_ = 1;
  double fixed_ = 0;
  std::vector<double> pass_, asking_;  // [depth] layers and router
  std::vector<AttentionCost> attention_;
  std::vector<int64_t> came_;  // [depth] tokens so far
  int64_t position_ = 0;
  double full_ = 0;
};

}  // namespace fathom
