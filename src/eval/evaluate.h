// A task's items through a scorer: scores, verdicts, and their means.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "eval/items.h"
#include "eval/requests.h"
#include "eval/scorer.h"
#include "eval/statistics.h"

namespace fathom::eval {

// What the metrics of one item come to, in the order of Task::metrics.
std::vector<double> verdicts_of(const Task& task, const Item& item, std::span<const Score> scores);

struct MetricResult {
  Metric metric;
  Estimate estimate;
};

struct TaskResult {
  std::string name = {};  // "hellaswag"; of a group's part "mmlu_astronomy"
  std::vector<MetricResult> metrics = {};
  int64_t items = 0;  // scored
};

struct TaskReport {
  const Task* task = nullptr;
  std::string file = {};
  std::string_view form = {};
  int64_t shots = 0;
  int64_t rows = 0;  // items that the file holds
  int64_t cut = 0;   // requests that were longer than the context allows
  TaskResult total = {};
  std::vector<TaskResult> groups = {};  // of a task with groups, in the order of its items
};

// The longest request of the items, in rows. Makes every request, so that what cannot be scored is found
// before anything is: errors name file and item.
Result<int64_t> longest_request(const TaskItems& items, const TextEncoder& encoder, int64_t max_inputs);

struct ScoredItem {
  const Task& task;
  const Item& item;
  const std::vector<Score>& scores;     // of each choice
  const std::vector<double>& verdicts;  // of each metric
  int64_t done;                         // items of the task, this one included
};
// An error of `on_item` ends the evaluation.
Result<TaskReport> evaluate(const TaskItems& items, const TextEncoder& encoder, int64_t max_inputs,
                            Scorer& scorer, const std::function<Status(const ScoredItem&)>& on_item);

}  // namespace fathom::eval
