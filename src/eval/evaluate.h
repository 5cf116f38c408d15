// A task's items through a scorer: scores, verdicts, and their means. Tasks whose answers are written go
// through eval/written.h to the same reports.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
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
  // Of items that are measured more than once: the mean verdict of each measurement.
  std::vector<double> measurements = {};
  double prompt_tokens = 0;  // of an item on average; 0 where continuations are scored
};

// How the answers of a task were written.
struct WrittenFacts {
  Writing writing = {};            // as it was
  std::string chat_template = {};  // empty: none
  int64_t answers = 0, answer_tokens = 0;
  int64_t unfinished = 0;  // answers that were ended by the limit of tokens
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
  std::optional<WrittenFacts> written = {};
};

// What is known of each item, in the order of the items.
struct ItemVerdicts {
  std::vector<double> of_metrics = {};
  int64_t prompt_tokens = 0;
};
// The means of a whole task, and of its groups.
TaskReport report_of(const TaskItems& items, std::span<const ItemVerdicts> verdicts);

// "piqa/validation.jsonl, item 3": where an item is from, for sentences.
std::string place_of(const TaskItems& items, const Item& item);

// The longest request of the items, in rows. Makes every request, so that what cannot be scored is found
// before anything is: errors name file and item.
Result<int64_t> longest_request(const TaskItems& items, const TextEncoder& encoder, int64_t max_inputs);

struct ScoredItem {
  const Task& task;
  const Item& item;
  std::span<const Score> scores;         // of each choice, where continuations are scored
  std::span<const std::string> answers;  // where they are written
  const std::vector<double>& verdicts;   // of each metric
  int64_t done;                          // items of the task, this one included
};
// An error of `on_item` ends the evaluation.
Result<TaskReport> evaluate(const TaskItems& items, const TextEncoder& encoder, int64_t max_inputs,
                            Scorer& scorer, const std::function<Status(const ScoredItem&)>& on_item);

}  // namespace fathom::eval
