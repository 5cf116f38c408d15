#include "train/calibrate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "base/check.h"
#include "kernels/router/router.h"

namespace fathom::train {

bool has_thresholds(const ModelPlan& plan) {
  return std::ranges::any_of(plan.segments, [](const Segment& segment) {
    return segment.router && segment.router->spec.kind == RouterKind::kExpertChoice && segment.repeat > 1;
  });
}

double reached_by(std::vector<float> logits, int64_t keep) {
  constexpr double kRounding = 1e-4;
  std::ranges::sort(logits, std::greater<>());
  const auto size_of_rounding = [](float logit) {
    return kRounding * std::max(1.0, std::fabs(double{logit}));
  };
  const auto count = static_cast<int64_t>(logits.size());
  FATHOM_CHECK(keep >= 1 && keep <= count, "a threshold keeps from one to all");
  // The middle between the logits that `kept` leaves on both sides, if they are far enough apart.
  const auto between = [&](int64_t kept) -> std::optional<double> {
    if (kept < 1 || kept >= count) return std::nullopt;
    const float last = logits[static_cast<size_t>(kept - 1)], next = logits[static_cast<size_t>(kept)];
    if (double{last} - next <= size_of_rounding(next)) return std::nullopt;
    return 0.5 * (double{last} + next);
  };
  for (int64_t away = 0; keep < count && away < count; ++away) {
    for (const int64_t kept : {keep + away, keep - away}) {
      if (const std::optional<double> found = between(kept)) return *found;
    }
  }
  return logits.back() - size_of_rounding(logits.back());  // all of them
}

void calibrate_thresholds(ModelPlan& plan, Executor& executor, const std::vector<Batch>& batches,
                          Precision precision) {
  for (Segment& segment : plan.segments) {
    if (!segment.router || segment.router->spec.kind != RouterKind::kExpertChoice) continue;
    RouterSpec& spec = segment.router->spec;
    spec.threshold.assign(static_cast<size_t>(segment.repeat), 0.0);
    for (int32_t depth = 1; depth < segment.repeat; ++depth) {
      const auto d = static_cast<size_t>(depth);
      std::vector<float> logits;
      int64_t rows = 0;
      for (const Batch& batch : batches) {
        ForwardOptions options;
        options.precision = precision;
        options.routing = Routing::kThreshold;
        const ForwardResult result = executor.forward(batch, options);
        rows += batch.rows();
        if (d >= result.passes.size()) continue;
        const RoutedPass& pass = result.passes[d];
        const at::Tensor& found = pass.aux_logits.defined() ? pass.aux_logits : pass.logits;
        logits.insert(logits.end(), found.const_data_ptr<float>(),
                      found.const_data_ptr<float>() + found.numel());
      }
      if (logits.empty()) continue;
      const int64_t keep =
          kernels::router_capacity(spec.capacity[d], rows, static_cast<int64_t>(logits.size()));
      spec.threshold[d] = reached_by(std::move(logits), keep);
    }
    if (plan.spec.router) plan.spec.router->threshold = spec.threshold;
  }
}

}  // namespace fathom::train
