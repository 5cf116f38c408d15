#include "plan/token_flops.h"

#include <algorithm>

#include "plan/count.h"
#include "plan/work.h"

namespace fathom {

TokenFlops::TokenFlops(const ModelPlan& plan) {
  most_ = std::max(1, most_passes(plan));
  pass_.resize(static_cast<size_t>(most_));
  asking_.resize(pass_.size());
  came_.resize(pass_.size());
  const ModelPlan all = with_depth_shares(plan, std::vector<double>(pass_.size(), 1.0));
  fixed_ = count_flops(all, 1).head;
  for (const Segment& segment : all.segments) {
    for (int32_t depth = 0; depth < segment.repeat; ++depth) {
      const auto d = static_cast<size_t>(depth);
      if (segment.router) asking_[d] += count_router_flops(all, segment, depth);
      for (const Layer& layer : segment.layers) {
        const FlopCount one = count_layer_flops(all, segment, layer, depth, 1);
        (segment.router ? pass_[d] : fixed_) += one.linear + one.scan;
        const auto* attention = std::get_if<Attention>(&layer.mixer);
        if (attention == nullptr) continue;
        const bool own = segment.router && key_source(segment, layer, depth) == KeySource::kOwn &&
                         segment.kv == KvMode::kRecursionWise;
        // At a context of one token there is one key, beside those of the prompt.
        const double prompt = attention->prompt ? static_cast<double>(attention->prompt->length) : 0;
        const double per_key = one.attention / (1 + prompt);
        (segment.router ? pass_[d] : fixed_) += per_key * prompt;
        attention_.push_back({per_key, attention->window, own ? depth : -1, segment.router ? depth : -1});
      }
    }
  }
}

double TokenFlops::cost(int32_t depth) const {
  double total = fixed_;
  for (int32_t d = 0; d < most_; ++d) {
    if (d < depth) total += pass_[static_cast<size_t>(d)];
    // Whoever stops was asked before the pass that it did not make.
    if (d <= depth) total += asking_[static_cast<size_t>(d)];
  }
  for (const AttentionCost& one : attention_) {
    if (depth <= one.from_depth) continue;
    const int64_t keys = 1 + (one.own_depth < 0 ? position_ : came_[static_cast<size_t>(one.own_depth)]);
    total += one.per_key * static_cast<double>(one.window > 0 ? std::min(keys, one.window) : keys);
  }
  return total;
}

double TokenFlops::next(int32_t depth) {
  depth = std::clamp(depth, 0, most_);
  full_ = cost(most_);
  const double spent = cost(depth);
  for (int32_t d = 0; d < depth; ++d) ++came_[static_cast<size_t>(d)];
  ++position_;
  return spent;
}

}  // namespace fathom
