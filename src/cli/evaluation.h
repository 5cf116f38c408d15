// What `fathom eval` does with a model: tasks, perplexity, and the report of both.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "cli/loaded_model.h"
#include "data/text_documents.h"
#include "eval/written.h"

namespace fathom::cli {

struct EvaluationSettings {
  std::vector<std::string> perplexity, rolling;  // files and folders
  TextSettings text;                             // how they become documents
  int64_t limit = 0;                             // packed rows, documents; 0: all
  int64_t sequence_length = 0;                   // of packed rows; 0: the model's longest, 2048 at most
  bool keep_apart = false, label_inside = false;
  int64_t by_context = 0;  // positions of a bucket of packed rows' figures; 0: none
  std::vector<double> budgets;
  int64_t calibration_rows = 0;  // 0: a quarter, 16 at most
  bool agreement = false;

  std::string chat_template;  // of messages: a name, "none", or empty for the model's own
  std::string routing = "threshold";
  DType kv_type = DType::kF32;
  Numerics numerics = {};
  int64_t context = 0;  // tokens fed of a request at most; 0: the model's longest
  int64_t chunk = 256;
  bool json = false;                  // printed in place of the table
  std::string output, samples, plot;  // files to write; empty: none
  bool quiet = false;
};

// A task with its items and, where its answers are written, how.
struct TaskWork {
  eval::TaskItems items;
  std::optional<eval::Writing> writing;
  eval::PromptCodec prompts = {};  // made by run_evaluation()
};

// Scores everything, prints the table or JSON, then writes the files: one that cannot be written takes
// nothing of what was found away. Returns an exit code. Ctrl-C ends it without a report. What needs more
// memory than there is is refused before anything is allocated.
Result<int> run_evaluation(const LoadedModel& model, const EvaluationSettings& settings,
                           std::vector<TaskWork> tasks, Parallel& parallel);

}  // namespace fathom::cli
