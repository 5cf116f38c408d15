// fathom batch: the requests of a file, many at once.
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <limits>
#include <optional>

#include "base/parallel.h"
#include "base/scratch_file.h"
#include "cli/batch/batch_runner.h"
#include "cli/commands.h"
#include "cli/flag_checks.h"
#include "cli/loaded_model.h"
#include "cli/long_context.h"
#include "cli/numeric_flags.h"
#include "cli/output_folder.h"
#include "cli/progress.h"
#include "cli/run_memory.h"
#include "cli/sampling_flags.h"
#include "cli/stop_signal.h"
#include "cli/threads_flag.h"
#include "engine/executor_model.h"

namespace fathom::cli {

namespace {

std::atomic<bool> stopped{false};

struct Flags {
  std::string model, input, output, alias, chat_template, slots;
  NumericFlags numeric{.as_stored = true, .kv_type = "bf16"};
  kernels::SamplingParams sampling;
  int64_t context = 0, chunk = 512, max_sequences = 64, draft_max = 0;
  uint64_t memory = 0;                   // 0: what is free
  std::optional<uint64_t> prefix_cache;  // none: a quarter of the memory
  int threads = 0;
  bool quiet = false, check_tensors = false;
};

std::string mib(int64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

Result<int> run(const CLI::App& app, Flags flags) {
  FATHOM_TRY(check_output_folder(flags.output));
  std::error_code error;
  if (std::filesystem::equivalent(flags.input, flags.output, error))
    return wrong_usage("FILE and --output are the same file");
  // It is read once to be checked and once to be run.
  if (std::filesystem::exists(flags.input, error) && !std::filesystem::is_regular_file(flags.input, error))
    return invalid(flags.input + " is not a regular file, expected one that can be read twice");
  if (flags.input == "-")
    return invalid("FILE: standard input cannot be read twice, expected a regular file");
  FATHOM_ASSIGN(const int64_t requests, batch::check_batch(flags.input));
  ThreadPool pool(threads_or_all(flags.threads));
  FATHOM_ASSIGN(const LoadedModel model,
                load_model(flags.model, flags.numeric.matrices(), flags.check_tensors, &pool));
  kernels::SamplingParams sampling = flags.sampling;
  FATHOM_TRY(take_recommended_sampling(app, model.generation_config, sampling));
  FATHOM_ASSIGN(const Numerics numerics, flags.numeric.numerics(model.plan, model.matrix_type));
  say_if_beyond_longest("batch", "--context", flags.context, model.plan);
  const int64_t context = flags.context > 0 ? flags.context : model.plan.dims.max_positions;
  const int64_t rows = std::max(flags.chunk, flags.max_sequences);
  FATHOM_ASSIGN(const int64_t budget,
                state_budget(model.plan, context, rows, flags.numeric.keys(), flags.memory));

  // Rows with logits: a token of each sequence and guesses, or a piece of a prompt whose tokens are scored.
  constexpr int64_t kScored = 64;
  const SchedulerOptions options{.max_sequences = flags.max_sequences};
  Executor executor(model.plan, *model.weights, rows, context, pool, numerics,
                    flags.max_sequences + std::max(kScored, options.draft_rows));
  const int64_t cached =
      flags.prefix_cache
          ? static_cast<int64_t>(std::min<uint64_t>(*flags.prefix_cache, static_cast<uint64_t>(budget)))
          : budget / 4;
  ExecutorModel sequences(executor, model.plan, rows, context, flags.numeric.keys(), budget, cached);
  if (!flags.slots.empty()) {
    FATHOM_ASSIGN(const ScratchFile here, ScratchFile::open(flags.slots));
    sequences.save_in(flags.slots);
  }
  SteadyClock clock;
  Scheduler scheduler(sequences, pool, clock, options);
  FATHOM_ASSIGN(batch::BatchOutput output, batch::BatchOutput::open(flags.output));
  FATHOM_ASSIGN(batch::BatchInput input, batch::BatchInput::open(flags.input));
  const std::string name = flags.alias.empty()
                               ? std::filesystem::path(model.path).lexically_normal().filename().string()
                               : flags.alias;
  batch::BatchRunner runner(model, scheduler, output,
                            {.sampling = sampling,
                             .seed = flags.sampling.seed,
                             .model_name = name,
                             .created = static_cast<int64_t>(std::time(nullptr)),
                             .fingerprint = version_of("fathom"),
                             .chat_template = flags.chat_template,
                             .draft_tokens = flags.draft_max,
                             .keeps_prompts = cached > 0});
  catch_stop_signals(stopped, "what is being written is left, and done by the next run");
  Progress progress(flags.quiet, ::isatty(STDERR_FILENO) != 0, clock);
  const int64_t before = output.done();
  progress.say("batch: " + std::to_string(requests) + " requests" +
               (before > 0 ? ", of which " + std::to_string(before) + " are done" : "") + "; " + mib(budget) +
               " for states, " + mib(cached) + " of it for beginnings that others share, up to " +
               std::to_string(flags.max_sequences) + " sequences at once, passes of " + std::to_string(rows) +
               " rows");
  progress.begin("requests", requests, "requests");
  const double start = clock.seconds();
  const auto rate = [&] {
    char text[64];
    const double seconds = std::max(1e-9, clock.seconds() - start);
    std::snprintf(text, sizeof text, "%.1f tokens/s",
                  static_cast<double>(scheduler.counts().drawn) / seconds);
    return std::string(text);
  };
  const Status ran = runner.run(input, stopped, [&] { progress.update(output.done(), rate()); });
  progress.end();
  const Status closed = output.close();
  if (!ran.ok()) return ran.error();
  if (!closed.ok()) return closed.error();
  const SchedulerCounts& counts = scheduler.counts();
  progress.say("batch: " + std::to_string(output.done() - before) + " done, " + std::to_string(counts.drawn) +
               " tokens, " + rate() + ", " + std::to_string(counts.rows) + " rows in " +
               std::to_string(counts.passes) + " passes, " + std::to_string(counts.preemptions) +
               " preemptions (" + std::to_string(counts.read_again) + " tokens read again, " +
               std::to_string(counts.restored) + " restored), " + std::to_string(counts.cached) +
               " tokens of prompts found read, " +
               (flags.draft_max > 0 ? std::to_string(counts.accepted) + " of " +
                                          std::to_string(counts.drafted) + " guesses came true, "
                                    : "") +
               "states at most " + mib(sequences.memory().most_used()));
  if (stopped.load()) return kExitInterrupted;
  if (output.failed() > 0) {
    return invalid(std::to_string(output.failed()) + " of " + std::to_string(output.done()) +
                   " requests have no answer; " + flags.output + " says why");
  }
  return kExitOk;
}

}  // namespace

Action declare_batch(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("MODEL", flags->model, "model directory, or the directory of a run")->required();
  app.add_option("FILE", flags->input, "requests, a line of JSON each, as OpenAI's Batch API has them")
      ->required();
  app.add_option("--output,-o", flags->output,
                 "answers, a line each; if it is there, what is done in it is not done again")
      ->required()
      ->check(not_empty());
  app.add_option("--alias", flags->alias,
                 "the model's name in requests and answers (default: the directory's)")
      ->check(not_empty());
  app.add_option("--max-sequences", flags->max_sequences, "sequences at once, at most")
      ->check(whole_number(1, 4096))
      ->capture_default_str();
  app.add_option("--context,-c", flags->context,
                 "most tokens of a prompt and its text (default: the model's longest)")
      ->check(whole_number(1, kMostContext));
  app.add_option("--chunk,-b", flags->chunk, "rows of a pass, of prompts and of tokens that are drawn")
      ->check(whole_number(1, kMostChunk))
      ->capture_default_str();
  app.add_option(
         "--draft-max", flags->draft_max,
         "tokens guessed from a prompt and its text that are read with each token, at most, while few "
         "sequences run")
      ->check(whole_number(0, kMostDraft))
      ->capture_default_str();
  app.add_option("--memory", flags->memory,
                 "for the states of all sequences, as 2GiB (default: four fifths of what is free)")
      ->transform(CLI::AsSizeValue(false));
  app.add_option(
         "--prefix-cache", flags->prefix_cache,
         "of --memory, for beginnings of texts that others share, as 512MiB; 0: none (default: a quarter)")
      ->transform(CLI::AsSizeValue(false));
  app.add_option(
         "--slot-save-path", flags->slots,
         "directory for the states of sequences whose memory others need; without it they are read again")
      ->check(not_empty());
  app.add_option("--chat-template", flags->chat_template, "phi or chatml (default: the model's)");
  add_sampling_flags(app, flags->sampling, SamplingDefaults::kOfModel);
  add_threads_flag(app, flags->threads);
  add_numeric_flags(app, flags->numeric);
  app.add_flag("--check-tensors", flags->check_tensors, "refuse weights that are not finite numbers");
  app.add_flag("--quiet,-q", flags->quiet, "no progress");
  return [flags, &app] { return run(app, *flags); };
}

}  // namespace fathom::cli
