#include "eval/depth_study.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "engine/depth_controller.h"

namespace fathom::eval {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kMostHalvings = 32;
constexpr double kCloseEnough = 0.002;  // passes

struct Found {
  float depth_shift = 0;
  double mean_depth = 0;
};

// Fewer passes are made the higher the shift is; strictly so only if what a row sees did not depend on the
// passes of others, so of all shifts tried the one that came closest is taken.
Result<Found> find_shift(RoutedRows& rows, int64_t count, double target) {
  double low = -kMostShiftSteps * depth_shift_unit(rows.plan()), high = -low;
  Found best;
  double closest = INFINITY;
  const auto attempt = [&](double shift) -> Result<double> {
    const auto depth_shift = static_cast<float>(shift);
    FATHOM_ASSIGN(const RoutedResult result, rows.by_threshold(0, count, depth_shift));
    const double over = result.mean_depth() - target;
    if (std::fabs(over) < closest) {
      closest = std::fabs(over);
      best = {depth_shift, result.mean_depth()};
    }
    return over;
  };
  for (const double end : {low, high}) {
    const Result<double> over = attempt(end);
    if (!over.ok()) return over.error();
  }
  for (int i = 0; i < kMostHalvings && closest > kCloseEnough; ++i) {
    const double middle = 0.5 * (low + high);
    FATHOM_ASSIGN(const double over, attempt(middle));
    (over > 0 ? low : high) = middle;
  }
  return best;
}

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string row_of(const std::vector<std::string>& cells) {
  std::string row = "|";
  for (const std::string& cell : cells) row.append(" ").append(cell).append(" |");
  return row + "\n";
}

std::string row_of(const std::string& name, const std::string& shift, const RoutedResult& result) {
  return row_of({name, shift, fixed(result.mean_depth(), 3), fixed(100 * result.flops_share(), 1) + " %",
                 fixed(result.packed.nll(), 4)});
}

Json json_of(const RoutedResult& result) {
  return {{"mean_depth", result.mean_depth()},
          {"flops_share", result.flops_share()},
          {"nll", result.packed.nll()}};
}

}  // namespace

std::vector<std::vector<int64_t>> DepthStudy::confusion() const {
  const auto passes = static_cast<size_t>(most_passes) + 1;
  std::vector<std::vector<int64_t>> counts(passes, std::vector<int64_t>(passes));
  for (size_t i = 0; i < top_k.depths.size(); ++i) ++counts[top_k.depths[i]][threshold.depths[i]];
  return counts;
}

double DepthStudy::agreement() const {
  int64_t same = 0;
  for (size_t i = 0; i < top_k.depths.size(); ++i) same += top_k.depths[i] == threshold.depths[i] ? 1 : 0;
  return static_cast<double>(same) / static_cast<double>(top_k.depths.size());
}

Result<DepthStudy> study_depths(RoutedRows& rows, int64_t calibration_rows, int64_t count,
                                std::span<const double> budgets) {
  DepthStudy study;
  study.calibration_rows = calibration_rows;
  study.rows = count;
  study.most_passes = fathom::most_passes(rows.plan());
  for (const double budget : budgets) {
    const double target = std::max(1.0, budget * study.most_passes);
    FATHOM_ASSIGN(const Found found, find_shift(rows, calibration_rows, target));
    FATHOM_ASSIGN(RoutedResult result, rows.by_threshold(calibration_rows, count, found.depth_shift));
    study.points.push_back({budget, found.depth_shift, found.mean_depth, std::move(result)});
  }
  FATHOM_ASSIGN(study.threshold, rows.by_threshold(calibration_rows, count, 0));
  FATHOM_ASSIGN(study.top_k, rows.by_top_k(calibration_rows, count));
  return study;
}

std::string to_table(const DepthStudy& study, bool agreement) {
  std::string text =
      "| routing | shift | mean depth | of full FLOPs | nll |\n| --- | ---: | ---: | ---: | ---: |\n";
  for (const BudgetPoint& point : study.points)
    text += row_of("budget " + fixed(point.budget, 2), fixed(point.depth_shift, 3), point.result);
  text += row_of("threshold", "0", study.threshold) + row_of("topk", "", study.top_k);
  text += '\n';  // apart: g++ 12 misreads the sum of a literal and a temporary string
  text += std::to_string(study.rows) + " rows, " + std::to_string(study.threshold.packed.predictions) +
          " predictions";
  if (!study.points.empty())
    text += "; shifts found on the " + std::to_string(study.calibration_rows) + " rows before them";
  text += "\n";
  if (!agreement) return text;
  text += "\ntopk and threshold agree on the depth of " + fixed(100 * study.agreement(), 1) +
          " % of the tokens\n\n";
  // The causal rule always makes a first pass, the published one where its capacity is 1.
  const std::vector<std::vector<int64_t>> confusion = study.confusion();
  const bool skipped = std::ranges::any_of(confusion[0], [](int64_t tokens) { return tokens > 0; });
  std::vector<std::string> heads = {"topk \\ threshold"}, rules = {"---"};
  for (size_t d = 1; d < confusion.size(); ++d) {
    heads.push_back(std::to_string(d));
    rules.emplace_back("---:");
  }
  text += row_of(heads) + row_of(rules);
  for (size_t depth = skipped ? 0 : 1; depth < confusion.size(); ++depth) {
    std::vector<std::string> cells = {std::to_string(depth)};
    for (size_t d = 1; d < confusion.size(); ++d) cells.push_back(std::to_string(confusion[depth][d]));
    text += row_of(cells);
  }
  return text;
}

Json to_json(const DepthStudy& study) {
  Json json = {{"calibration_rows", study.calibration_rows},
               {"rows", study.rows},
               {"predictions", study.threshold.packed.predictions},
               {"budgets", Json::array()}};
  for (const BudgetPoint& point : study.points) {
    Json entry = {{"budget", point.budget},
                  {"depth_shift", point.depth_shift},
                  {"calibrated_depth", point.calibrated_depth}};
    entry.update(json_of(point.result));
    json["budgets"].push_back(std::move(entry));
  }
  json["threshold"] = json_of(study.threshold);
  json["topk"] = json_of(study.top_k);
  json["agreement"] = study.agreement();
  json["confusion"] = study.confusion();
  return json;
}

}  // namespace fathom::eval
