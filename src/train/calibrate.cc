#include "train/calibrate.h"

#include <algorithm>

namespace fathom::train {

namespace {

// The value that `share` of the logits reach: half way between the last that does and the first that does
// not.
double reached_by(std::vector<float> logits, double share) {
  std::ranges::sort(logits, std::greater<>());
  const auto count = static_cast<double>(logits.size());
  const auto keep = static_cast<size_t>(std::clamp(share * count, 1.0, count));
  if (keep >= logits.size()) return logits.back();
  return 0.5 * (double{logits[keep - 1]} + logits[keep]);
}

}  // namespace

void calibrate_thresholds(ModelPlan& plan, Executor& executor, const std::vector<Batch>& batches, bool bf16) {
  for (Segment& segment : plan.segments) {
    if (!segment.router || segment.router->spec.kind != RouterKind::kExpertChoice) continue;
    RouterSpec& spec = segment.router->spec;
    spec.threshold.assign(static_cast<size_t>(segment.repeat), 0.0);
    for (int32_t depth = 1; depth < segment.repeat; ++depth) {
      const auto d = static_cast<size_t>(depth);
      std::vector<float> logits;
      for (const Batch& batch : batches) {
        ForwardOptions options;
        options.bf16 = bf16;
        options.routing = Routing::kThreshold;
        const ForwardResult result = executor.forward(batch, options);
        if (d >= result.passes.size()) continue;
        const RoutedPass& pass = result.passes[d];
        const at::Tensor& found = pass.aux_logits.defined() ? pass.aux_logits : pass.logits;
        logits.insert(logits.end(), found.const_data_ptr<float>(),
                      found.const_data_ptr<float>() + found.numel());
      }
      if (logits.empty()) continue;
      spec.threshold[d] = reached_by(std::move(logits), spec.capacity[d] / spec.capacity[d - 1]);
    }
    if (plan.spec.router) plan.spec.router->threshold = spec.threshold;
  }
}

}  // namespace fathom::train
