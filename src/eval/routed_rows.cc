#include "eval/routed_rows.h"

#include <numeric>
#include <utility>

namespace fathom::eval {

double RoutedResult::mean_depth() const {
  return static_cast<double>(std::accumulate(depths.begin(), depths.end(), int64_t{0})) /
         static_cast<double>(depths.size());
}

RoutedRows::RoutedRows(const ModelPlan& plan, const Weights& weights, const PackedRows& rows,
                       const Settings& settings, Parallel& parallel, std::function<Status()> on_row)
    : plan_(plan),
      weights_(weights),
      rows_(rows),
      settings_(settings),
      parallel_(parallel),
      on_row_(std::move(on_row)),
      fresh_count_(plan),
      causal_(plan, weights, scorer_settings(RoutingMode::kThreshold), parallel) {}

ScorerSettings RoutedRows::scorer_settings(RoutingMode routing) const {
  return {.routing = routing,
          .max_inputs = settings_.packing.sequence_length,
          .chunk = settings_.chunk,
          .kv_type = settings_.kv_type,
          .numerics = settings_.numerics};
}

Result<RoutedResult> RoutedRows::by_threshold(int64_t first, int64_t count, float depth_shift) {
  causal_.set_depth_shift(depth_shift);
  return score(causal_, first, count);
}

Result<RoutedResult> RoutedRows::by_top_k(int64_t first, int64_t count) {
  Scorer scorer(plan_, weights_, scorer_settings(RoutingMode::kTopK), parallel_);
  return score(scorer, first, count);
}

Result<RoutedResult> RoutedRows::score(Scorer& scorer, int64_t first, int64_t count) {
  RoutedResult result;
  scorer.set_depth_watcher([&](std::span<const uint8_t> depths) {
    result.depths.insert(result.depths.end(), depths.begin(), depths.end());
  });
  for (int64_t row = first; row < first + count; ++row) {
    for (const Request& request : requests_of_row(rows_, row, settings_.packing)) {
      const size_t before = result.depths.size();
      result.packed.log_likelihood += scorer.score({&request, 1}).front().log_likelihood;
      result.packed.predictions += request.targets();
      TokenFlops cost = fresh_count_;
      for (size_t i = before; i < result.depths.size(); ++i) {
        result.flops += cost.next(result.depths[i]);
        result.full_flops += cost.full();
      }
    }
    ++result.packed.rows;
    FATHOM_TRY(on_row_());
  }
  scorer.set_depth_watcher({});
  if (result.packed.predictions == 0) return invalid("the data holds nothing to predict");
  return result;
}

}  // namespace fathom::eval
