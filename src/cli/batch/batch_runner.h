// The requests of a batch through one scheduler: each is put in line in the order of the file, and written
// when all its texts are.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cli/batch/batch_file.h"
#include "cli/batch/completion_body.h"
#include "cli/loaded_model.h"
#include "engine/scheduler.h"

namespace fathom::cli::batch {

struct BatchOptions {
  kernels::SamplingParams sampling;  // where a request says nothing
  uint64_t seed = 0;                 // of requests without one, with their custom_id
  std::string model_name;            // a request that names another is refused; empty names are this one
  int64_t created = 0;
  std::string fingerprint;
  std::string chat_template;   // as of chat_template_of()
  int64_t draft_tokens = 0;    // Request::draft_tokens
  bool keeps_prompts = false;  // what one has read of a prompt others find
};

class BatchRunner {
 public:
  // All of them outlive it.
  BatchRunner(const LoadedModel& model, Scheduler& scheduler, BatchOutput& output, BatchOptions options);
  ~BatchRunner();

  // Runs until everything is written, or `stop` is set: what has not been written then is done by the next
  // run. `on_pass` sees the time pass by.
  Status run(BatchInput& input, const std::atomic<bool>& stop, const std::function<void()>& on_pass);

 private:
  struct Job;
  using Prompts = std::vector<std::vector<int32_t>>;

  // Puts a line's texts in line, or writes why not.
  Status start(BatchLine line);
  std::variant<Prompts, ApiError> prompts_of(const CompletionRequest& request);
  Request request_for(const CompletionRequest& completion, const std::string& custom_id, int64_t index);
  void submit_rest(Job& job, size_t first);
  void ended(Job& job, size_t index, RequestResult result);
  Status finish(Job& job);

  const LoadedModel& model_;
  Scheduler& scheduler_;
  BatchOutput& output_;
  const BatchOptions options_;
  std::optional<Result<text::ChatTemplate>> chat_;  // once a chat asked for it
  std::unordered_map<std::string, std::unique_ptr<Job>> jobs_;
  Status failed_;  // the first line that could not be written
};

}  // namespace fathom::cli::batch
