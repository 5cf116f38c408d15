// How a routed model's loss follows the compute it is given, and how far its two routing rules agree.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "eval/routed_rows.h"

namespace fathom::eval {

struct BudgetPoint {
  double budget = 0;  // mean passes that were asked for, as a share of the most
  float depth_shift = 0;
  double calibrated_depth = 0;  // mean passes that the shift gave on the rows it was found on
  RoutedResult result;
};

struct DepthStudy {
  int64_t calibration_rows = 0;  // the first packed rows; the `rows` after them are scored
  int64_t rows = 0;
  int32_t most_passes = 0;
  std::vector<BudgetPoint> points;
  RoutedResult threshold, top_k;  // with the thresholds of the model, and as published

  // confusion[t][c]: tokens that make t passes by the published rule and c by the causal one.
  std::vector<std::vector<int64_t>> confusion() const;
  // Share of the tokens that both rules let make as many passes.
  double agreement() const;
};

// One shift of all thresholds for each budget, in (0, 1], found by bisection on the first `calibration_rows`
// packed rows, so that tokens make `budget` times the most passes there on average (a first pass is always
// made, so never less than one); then `rows` rows with it. Shifts that go on are no part of this: a token's
// decisions depend on nothing but the tokens before it.
Result<DepthStudy> study_depths(RoutedRows& rows, int64_t calibration_rows, int64_t count,
                                std::span<const double> budgets);

// A Markdown table of the points, with `agreement` how often the rules agree; and the same as JSON.
std::string to_table(const DepthStudy& study, bool agreement);
nlohmann::ordered_json to_json(const DepthStudy& study);

}  // namespace fathom::eval
