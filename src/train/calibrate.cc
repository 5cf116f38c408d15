#include "train/calibrate.h"

#include <algorithm>
#include <cmath>

namespace fathom::train {

namespace {

// The value that about `share` of the logits reach: half way between two neighbours that are further apart
// than roundings differ between trainer and engine, as near to the share as there are such. Equal texts have
// equal logits, which a threshold among them would tear apart by their last digits.
double reached_by(std::vector<float> logits, double share) {
  constexpr double kRounding = 1e-4;
  std::ranges::sort(logits, std::greater<>());
  const auto size_of_rounding = [](float logit) {
    return kRounding * std::max(1.0, std::fabs(double{logit}));
  };
  const size_t count = logits.size();
  const auto keep =
      static_cast<size_t>(std::clamp(share * static_cast<double>(count), 1.0, static_cast<double>(count)));
  const auto is_gap = [&](size_t at) {
    return at > 0 && at<count&& double{logits[at - 1]} - logits[at]> size_of_rounding(logits[at]);
  };
  for (size_t away = 0; keep < count && away < count; ++away) {
    for (const size_t at : {keep + away, keep - std::min(keep, away)}) {
      if (is_gap(at)) return 0.5 * (double{logits[at - 1]} + logits[at]);
    }
  }
  return logits.back() - size_of_rounding(logits.back());  // all of them
}

}  // namespace

void calibrate_thresholds(ModelPlan& plan, Executor& executor, const std::vector<Batch>& batches,
                          Precision precision) {
  for (Segment& segment : plan.segments) {
    if (!segment.router || segment.router->spec.kind != RouterKind::kExpertChoice) continue;
    RouterSpec& spec = segment.router->spec;
    spec.threshold.assign(static_cast<size_t>(segment.repeat), 0.0);
    for (int32_t depth = 1; depth < segment.repeat; ++depth) {
      const auto d = static_cast<size_t>(depth);
      std::vector<float> logits;
      for (const Batch& batch : batches) {
        ForwardOptions options;
        options.precision = precision;
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
