// Flags of tasks whose answers are written: how they are written, and what Phonebook draws.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "eval/phonebook.h"
#include "eval/task.h"

namespace fathom::cli {

class WrittenFlags {
 public:
  // Declares --samples, --max-tokens, those of sampling, and those of Phonebook. `app` outlives the object.
  explicit WrittenFlags(CLI::App& app);

  // Error: a flag that none of the tasks takes.
  Status check(const std::vector<const eval::Task*>& tasks) const;

  // The task's own way of writing, with what was given in its place.
  eval::Writing writing_of(const eval::Task& task) const;
  // Errors: flags that contradict each other, numbers out of range.
  Result<eval::TaskItems> draw_phonebook(const eval::Task& task) const;

 private:
  bool given(const char* flag) const { return app_.count(flag) > 0; }

  const CLI::App& app_;
  int64_t samples_ = 0, max_tokens_ = 0, entries_ = 0;
  kernels::SamplingParams sampling_;
  eval::PhonebookSettings phonebook_;
  std::string mode_ = "default";
};

}  // namespace fathom::cli
