#include "cli/written_flags.h"

#include <algorithm>

#include "cli/flag_checks.h"
#include "cli/sampling_flags.h"

namespace fathom::cli {

namespace {

constexpr int64_t kMostSamples = 10'000;  // the answers to an item are kept until it has all of them

const char* const kOfWriting[] = {"--samples", "--max-tokens", "--temperature", "--top-k",
                                  "--top-p",   "--min-p",      "--seed",        "--chat-template"};
const char* const kOfPhonebook[] = {"--entries", "--min-entries", "--max-entries",   "--lengths",
                                    "--batches", "--batch-items", "--phonebook-mode"};

}  // namespace

WrittenFlags::WrittenFlags(CLI::App& app) : app_(app) {
  app.add_option("--samples", samples_, "answers to each item (default: as the task was published)")
      ->check(whole_number(1, kMostSamples));
  app.add_option("--max-tokens,-n,--max_gen_toks", max_tokens_, "of an answer at most (default: likewise)")
      ->check(whole_number(1));
  add_sampling_flags(app, sampling_);
  app.add_option("--entries", entries_, "of each phonebook; in place of the next three")
      ->check(whole_number(1));
  app.add_option("--min-entries,--min_eval_len", phonebook_.min_entries, "of the shortest phonebook")
      ->check(whole_number(1))
      ->capture_default_str();
  app.add_option("--max-entries,--max_eval_len", phonebook_.max_entries, "of the longest phonebook")
      ->check(whole_number(1))
      ->capture_default_str();
  app.add_option("--lengths,--num_eval", phonebook_.lengths, "phonebooks of different length at most")
      ->check(whole_number(1))
      ->capture_default_str();
  app.add_option("--batches,--eval_num_batches", phonebook_.batches,
                 "of each length; a fourth of them is a measurement")
      ->check(whole_number(1))
      ->capture_default_str();
  app.add_option("--batch-items,--eval_batch_size", phonebook_.batch_size, "drawn from one seed each")
      ->check(whole_number(1))
      ->capture_default_str();
  app.add_option("--phonebook-mode", mode_, "what stands around the entries")
      ->check(CLI::IsMember({"default", "verbose", "twice", "interleaved"}))
      ->capture_default_str();
}

Status WrittenFlags::check(const std::vector<const eval::Task*>& tasks) const {
  const bool any_written =
      std::ranges::any_of(tasks, [](const eval::Task* task) { return task->writing.has_value(); });
  const bool any_drawn = std::ranges::any_of(tasks, &eval::Task::is_drawn);
  for (const char* flag : kOfWriting) {
    if (given(flag) && !any_written)
      return wrong_usage(std::string(flag) + " is for tasks whose answers are written, such as aime24");
  }
  for (const char* flag : kOfPhonebook) {
    if (given(flag) && !any_drawn) return wrong_usage(std::string(flag) + " is for --tasks phonebook");
  }
  for (const char* flag : {"--min-entries", "--max-entries", "--lengths"}) {
    if (given(flag) && given("--entries"))
      return wrong_usage("--entries and " + std::string(flag) + " exclude each other");
  }
  for (const char* flag : {"--limit", "--num-fewshot"}) {
    if (given(flag) && any_drawn)
      return wrong_usage(std::string(flag) +
                         " is not for phonebook, whose items --batches and --batch-items count");
  }
  return {};
}

eval::Writing WrittenFlags::writing_of(const eval::Task& task) const {
  eval::Writing writing = *task.writing;
  if (samples_ > 0) writing.samples = samples_;
  if (max_tokens_ > 0) writing.max_tokens = max_tokens_;
  take_given_sampling(app_, sampling_, writing.sampling);
  return writing;
}

Result<eval::TaskItems> WrittenFlags::draw_phonebook(const eval::Task& task) const {
  eval::PhonebookSettings settings = phonebook_;
  if (given("--entries")) {
    settings.min_entries = settings.max_entries = entries_;
  } else if (!given("--max-entries")) {
    settings.max_entries = std::max(settings.max_entries, settings.min_entries);
  } else if (!given("--min-entries")) {
    settings.min_entries = std::min(settings.max_entries, settings.min_entries);
  }
  settings.seed = writing_of(task).sampling.seed;
  FATHOM_ASSIGN(settings.mode, eval::phonebook_mode_named(mode_));
  return eval::make_phonebook_items(task, settings);
}

}  // namespace fathom::cli
