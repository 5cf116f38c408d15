#include "cli/bench_serving.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "cli/figures.h"
#include "cli/flag_checks.h"
#include "cli/progress.h"
#include "cli/run_memory.h"
#include "engine/executor_model.h"

namespace fathom::cli {

namespace {

constexpr int64_t kMostRequests = 1'000'000, kMostTokens = kMostContext / 4;

struct Reason {
  const char *flag, *why;
};
// Flags of tests.
constexpr Reason kOfTests[] = {
    {"--n-prompt", "prompts have --random-input-len tokens"},
    {"--n-gen", "texts have --random-output-len tokens"},
    {"--n-depth", "requests begin with nothing read, or with --random-prefix-len tokens that they share"},
    {"--n-parallel", "how many are under way is --max-concurrency"},
    {"--repetitions", "a serving run is made once, and is longer with more requests"},
    {"--fill", "requests have no depth to be filled"},
    {"--no-prefill-shortcut", "requests are served as they would be"},
    {"--profile", "only tests are profiled"},
    {"--plot", "only tests are drawn"},
};
constexpr const char* kOfServing[] = {"--request-rate",      "--max-concurrency",
                                      "--random-input-len",  "--random-output-len",
                                      "--random-prefix-len", "--random-range-ratio",
                                      "--max-sequences",     "--memory",
                                      "--prefix-cache",      "--seed"};

// "inf" is the one number without an end that is meant.
CLI::Validator rate() {
  const CLI::Validator number = above(0);
  return CLI::Validator(
      [number](std::string& value) {
        std::string wrong = value == "inf" ? std::string() : number(value);
        return wrong.empty() ? wrong : wrong + " or inf";
      },
      "> 0 or inf");
}

// In slices, so that a signal is heard.
void wait_a_little(double seconds) {
  constexpr double kSlice = 0.02;
  std::this_thread::sleep_for(std::chrono::duration<double>(std::clamp(seconds, 0.0, kSlice)));
}

}  // namespace

ServingFlags::ServingFlags(CLI::App& app) : app_(app) {
  app.add_option("--requests", load_.requests,
                 "a serving run in place of tests: so many requests through the scheduler")
      ->check(whole_number(1, kMostRequests));
  app.add_option("--request-rate", load_.rate,
                 "of them a second, at random times; inf: each as soon as there is a place")
      ->check(rate())
      ->default_str("inf");
  app.add_option("--max-concurrency", load_.concurrency, "requests under way at most (default: any number)")
      ->check(whole_number(1, kMostRequests));
  app.add_option("--random-input-len", load_.input, "tokens of a prompt")
      ->check(whole_number(1, kMostTokens))
      ->capture_default_str();
  app.add_option("--random-output-len", load_.output, "tokens drawn for a prompt")
      ->check(whole_number(1, kMostTokens))
      ->capture_default_str();
  app.add_option("--random-prefix-len", load_.prefix, "tokens before them that all prompts share")
      ->check(whole_number(0, kMostTokens))
      ->capture_default_str();
  app.add_option("--random-range-ratio", load_.range_ratio,
                 "how far, as a share, lengths lie from these, below 1")
      ->check(between(0, 0.999))
      ->capture_default_str();
  app.add_option("--seed", load_.seed, "of arrivals, lengths and prompts")
      ->check(seed_number())
      ->capture_default_str();
  app.add_option("--max-sequences", max_sequences_, "sequences of the scheduler at once, at most")
      ->check(whole_number(1, 4096))
      ->capture_default_str();
  app.add_option("--memory", memory_,
                 "for the states of all sequences, as 2GiB (default: four fifths of what is free)")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--prefix-cache", prefix_cache_,
                 "of --memory, for beginnings that requests share, as 512MiB (default: none)")
      ->transform(CLI::AsSizeValue(false));
}

Status ServingFlags::check() const {
  if (!given()) {
    for (const char* flag : kOfServing) {
      if (app_.count(flag) > 0)
        return wrong_usage("bench: " + std::string(flag) + " is about serving, expected --requests");
    }
    return {};
  }
  for (const Reason& reason : kOfTests) {
    if (app_.count(reason.flag) > 0)
      return wrong_usage("bench: " + std::string(reason.flag) +
                         " is about tests, not --requests: " + reason.why);
  }
  if (prefix_cache_ > 0 && memory_ > 0 && prefix_cache_ > memory_)
    return wrong_usage("bench: --prefix-cache is a part of --memory, and cannot be more");
  return {};
}

Result<bench::ServingRun> ServingFlags::run(const bench::BenchModel& model, DType kv_type,
                                            const Numerics& numerics, int64_t chunk, Parallel& parallel,
                                            bool progress, const std::atomic<bool>& stop) const {
  bench::ServingRun run{.load = load_, .max_sequences = max_sequences_};
  const int64_t context = bench::longest(bench::draw_load(load_));
  const int64_t rows = std::max(chunk, max_sequences_);
  Result<int64_t> budget = state_budget(model.plan, context, rows, kv_type, memory_);
  if (!budget.ok()) return at(model.given, budget.error());
  run.state_budget = *budget;
  run.prefix_cache = static_cast<int64_t>(std::min<uint64_t>(prefix_cache_, static_cast<uint64_t>(*budget)));
  Executor executor(model.plan, *model.weights, rows, context, parallel, numerics);
  ExecutorModel sequences(executor, model.plan, rows, context, kv_type, run.state_budget, run.prefix_cache);
  SteadyClock clock;
  bench::ServingHooks hooks{.clock = clock, .wait = wait_a_little, .stop = stop};
  const SchedulerOptions options{.max_sequences = max_sequences_};
  {
    // Weights and scratch memory come from the system once.
    const bench::Load first{.input = std::min(load_.input, rows),
                            .output = std::min<int64_t>(load_.output, 2)};
    Scheduler scheduler(sequences, parallel, clock, options);
    const Result<bench::ServingResult> warm = bench::serve(scheduler, first, sequences.vocab(), hooks);
    if (!warm.ok()) return at(model.given, warm.error());
    sequences.forget_beginnings();
  }
  Scheduler scheduler(sequences, parallel, clock, options);
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  Progress bar(!progress && !terminal, terminal, clock);
  bar.say("fathom bench: " + model.given + ", " + std::string(name_of(model.matrix_type)) + ": " +
          std::to_string(load_.requests) + " requests, " + std::to_string(run.state_budget >> 20) +
          " MiB for states");
  bar.begin(model.name + ", requests", load_.requests, "requests");
  hooks.on_pass = [&](const bench::ServingResult& so_far) {
    bar.update(so_far.completed, rounded(static_cast<double>(so_far.output_tokens) / so_far.seconds, 1) +
                                     " tokens/s, " + std::to_string(scheduler.running()) + " running, " +
                                     std::to_string(scheduler.waiting()) + " waiting");
  };
  Result<bench::ServingResult> served = bench::serve(scheduler, load_, sequences.vocab(), hooks);
  bar.end();
  if (!served.ok()) return at(model.given, served.error());
  run.result = *std::move(served);
  run.counts = scheduler.counts();
  run.most_state_bytes = sequences.memory().most_used();
  return run;
}

}  // namespace fathom::cli
