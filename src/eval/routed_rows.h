// Packed rows under a routed model, run again and again with the decisions of its routers made otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "data/packed_rows.h"
#include "eval/perplexity.h"
#include "eval/scorer.h"
#include "plan/token_flops.h"

namespace fathom::eval {

struct RoutedResult {
  PackedResult packed;
  std::vector<uint8_t> depths;       // passes of each token fed, in order
  double flops = 0, full_flops = 0;  // of these tokens, and had each made all passes
  double mean_depth() const;
  double flops_share() const { return flops / full_flops; }
};

class RoutedRows {
 public:
  struct Settings {
    PackedSettings packing;
    int64_t chunk = 256;  // rows of a call of the causal rule
    DType kv_type = DType::kF32;
    Numerics numerics = {};
  };
  // All but the settings are the caller's and outlive the object; `rows` is not empty. `on_row` is called
  // after each packed row; its error ends what is being scored.
  RoutedRows(const ModelPlan& plan, const Weights& weights, const PackedRows& rows, const Settings& settings,
             Parallel& parallel, std::function<Status()> on_row);

  // Packed rows [first, first + count) by the causal rule, thresholds shifted by `depth_shift`
  // (ForwardOptions), and by the published one, each sequence one call.
  Result<RoutedResult> by_threshold(int64_t first, int64_t count, float depth_shift);
  Result<RoutedResult> by_top_k(int64_t first, int64_t count);

  const ModelPlan& plan() const { return plan_; }

 private:
  Result<RoutedResult> score(Scorer& scorer, int64_t first, int64_t count);
  ScorerSettings scorer_settings(RoutingMode routing) const;

  const ModelPlan& plan_;
  const Weights& weights_;
  const PackedRows& rows_;
  const Settings settings_;
  Parallel& parallel_;
  const std::function<Status()> on_row_;
  const TokenFlops fresh_count_;
  Scorer causal_;
};

}  // namespace fathom::eval
