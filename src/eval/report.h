// The results of an evaluation as a table for people and as JSON with the keys of lm-evaluation-harness.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "eval/depth_study.h"
#include "eval/evaluate.h"
#include "eval/perplexity.h"

namespace fathom::eval {

struct Report {
  std::string model;    // as given
  std::string routing;  // "threshold", "topk"; empty: the model has no routed recursion
  std::string dtype, kv_type;
  std::string rounding = "fast", state_type = "f32";  // engine/numerics.h
  std::vector<TaskReport> tasks;
  std::optional<PackedResult> packed;
  int64_t sequence_length = 0;       // of packed rows
  int64_t bucket = 0;                // positions of a bucket of packed->by_context
  std::optional<DepthStudy> depths;  // of the same rows
  bool agreement = false;            // the table says how far the routing rules agree
  std::optional<RollingResult> rolling;
  int64_t max_inputs = 0;  // rows of the longest request
  // What it took.
  int64_t rows = 0;
  double flops_per_token = 0;
  double mean_depth = 0;             // 0 without routing
  std::vector<double> depth_shares;  // the part of the rows that made each pass
  int64_t weight_bytes = 0, state_bytes = 0, scratch_bytes = 0;
  double seconds = 0;
};

// Markdown: a row a metric, groups before their parts; then lines about routing, work and memory.
std::string to_table(const Report& report);
// Keys are described in docs/formats/eval-data.md. A value that does not exist is null.
nlohmann::ordered_json to_json(const Report& report);

// One line of --write-items: an item as another program would use it.
nlohmann::ordered_json item_json(const Task& task, const Item& item);
// One line of --log-samples: the item, what the model made of it, and the verdicts.
nlohmann::ordered_json sample_json(const ScoredItem& scored);

}  // namespace fathom::eval
