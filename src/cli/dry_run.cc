#include "cli/dry_run.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <iostream>
#include <optional>
#include <utility>

#include "base/machine_limits.h"
#include "base/parallel.h"
#include "cli/command.h"
#include "cli/figures.h"
#include "cli/scratch_directory.h"
#include "cli/threads_flag.h"
#include "plan/describe.h"
#include "train/memory_estimate.h"
#include "train/run_data.h"

namespace fathom::cli {

namespace {

void print_line(const std::string& name, const std::string& value, const std::string& more = "") {
  std::cout << "  " << name << std::string(name.size() < 22 ? 22 - name.size() : 1, ' ') << value
            << (more.empty() ? "" : "  " + more) << "\n";
}

int64_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

// Of each text; all of it could fill the temporary folder, and take hours.
constexpr int64_t kMostTextTokens = int64_t{1} << 25;

class Report final : public train::TrainObserver {
 public:
  // Of what of the text was read.
  explicit Report(train::RunSamples samples) : samples_(std::move(samples)) {}

  void on_start(const train::RunSummary& summary) override {
    const train::RunConfig& config = *summary.config;
    steps_left_ = config.train.steps - summary.first_step;
    step_tokens_ = config.train.rows * config.train.accumulation * config.data.sequence_length;
    threads_ = summary.threads;
    evaluation_share_ = evaluation_share(summary);
    std::cout << config.name << "\n\nmodel\n"
              << describe(*summary.plan, config.data.sequence_length, DType::kBF16);
    print_data(summary);
    print_memory(summary);
    std::cout << std::flush;
  }

  // Tells enough from few steps: the first one allocates.
  void on_step(const train::StepReport& report) override {
    seconds_.push_back(report.seconds);
    constexpr double kEnough = 30;
    total_ += report.seconds;
    if (total_ > kEnough) stop_.store(true);
  }

  void print_time() const {
    std::cout << "\ntime\n";
    if (seconds_.empty()) {
      print_line("not measured",
                 std::to_string(steps_left_) + " steps of " + count(step_tokens_) + " tokens");
      return;
    }
    std::vector<double> timed(seconds_.begin() + (seconds_.size() > 1 ? 1 : 0), seconds_.end());
    std::ranges::sort(timed);
    const double step = timed[timed.size() / 2];
    print_line("a step", rounded(step, 3) + " s",
               "median of " + std::to_string(timed.size()) + " on " + std::to_string(threads_) +
                   " threads, " + count(static_cast<int64_t>(static_cast<double>(step_tokens_) / step)) +
                   " tokens/s");
    const double steps = step * static_cast<double>(steps_left_);
    print_line(std::to_string(steps_left_) + " steps", duration(steps),
               count(steps_left_ * step_tokens_) + " tokens");
    if (evaluation_share_ > 0) print_line("evaluations, about", duration(step * evaluation_share_));
    print_line("peak so far", bytes(peak_bytes()), "of memory, measured");
  }

  const std::atomic<bool>* stop() const { return &stop_; }

 private:
  static std::string count(int64_t number) { return short_count(static_cast<double>(number)); }
  static std::string bytes(int64_t number) {
    return rounded(static_cast<double>(number) / (1 << 20), number < (10 << 20) ? 1 : 0) + " MiB";
  }

  // Time of all evaluations in steps: a forward pass is a third of a step, routed models take two.
  double evaluation_share(const train::RunSummary& summary) const {
    if (summary.valid_rows == 0) return 0;
    const train::LoopConfig& train = summary.config->train;
    const int64_t times = 1 + (train.eval_every > 0 ? steps_left_ / train.eval_every : 0);
    const auto rows = static_cast<double>(std::min(train.eval_rows, summary.valid_rows));
    const bool routed =
        std::ranges::any_of(summary.plan->segments, [](const Segment& s) { return s.router.has_value(); });
    return static_cast<double>(times) * rows / static_cast<double>(train.rows * train.accumulation) *
           (routed ? 2 : 1) / 3;
  }

  void print_data(const train::RunSummary& summary) const {
    std::cout << "\ndata\n";
    const int64_t length = summary.config->data.sequence_length;
    for (size_t s = 0; s < summary.sources.size(); ++s) {
      const train::SourceSummary& source = summary.sources[s];
      const auto sample = s < samples_.sources.size() ? samples_.sources[s] : std::nullopt;
      const int64_t tokens = source.tokens + tokens_left(sample);
      const int64_t rows = scaled(source.rows, tokens, source.tokens);
      const double wanted = source.share * static_cast<double>(summary.config->train.steps * step_tokens_) /
                            static_cast<double>(length);
      print_line(source.name, about(sample) + count(tokens) + " tokens",
                 about(sample) + std::to_string(rows) + " rows of " + std::to_string(length) + ", " +
                     rounded(100 * source.share, 2) + " % of the run, seen " +
                     rounded(wanted / static_cast<double>(rows), 2) + " times");
      if (sample) print_sample(*sample);
    }
    if (summary.valid_rows > 0) {
      const int64_t tokens = summary.valid_rows * length;
      print_line("validation", about(samples_.valid) +
                                   std::to_string(scaled(summary.valid_rows,
                                                         tokens + tokens_left(samples_.valid), tokens)) +
                                   " rows");
      if (samples_.valid) print_sample(*samples_.valid);
    }
    if (summary.first_step > 0) print_line("goes on at step", std::to_string(summary.first_step));
  }

  static std::string about(const std::optional<train::TextSample>& sample) { return sample ? "about " : ""; }
  static int64_t scaled(int64_t number, int64_t numerator, int64_t denominator) {
    if (numerator == denominator) return number;
    return std::llround(static_cast<double>(number) * static_cast<double>(numerator) /
                        static_cast<double>(denominator));
  }
  // An estimate, of the text that was not read.
  static int64_t tokens_left(const std::optional<train::TextSample>& sample) {
    return sample ? scaled(sample->tokens, sample->bytes - sample->bytes_read, sample->bytes_read) : 0;
  }
  static void print_sample(const train::TextSample& sample) {
    print_line("  estimated from", bytes(sample.bytes_read), "of " + bytes(sample.bytes) + " of text");
  }

  void print_memory(const train::RunSummary& summary) const {
    std::cout << "\nmemory, estimated\n";
    print_line("parameters", bytes(4 * summary.parameters));
    print_line("gradients", bytes(4 * summary.parameters));
    print_line("moments of AdamW", bytes(8 * summary.parameters));
    const train::MemoryShape shape = train::memory_shape_of(*summary.config);
    print_line("activations", bytes(train::activation_bytes(*summary.plan, shape)),
               shape.gradient_checkpointing ? "of one micro-batch, with gradient checkpointing"
                                            : "of one micro-batch");
    print_line("at most", bytes(summary.memory_bytes),
               "with the program; not all of it is there at the same time");
    if (available_) print_line("free", bytes(*available_));
  }

  train::RunSamples samples_;
  // Before the run takes its own.
  std::optional<int64_t> available_ = available_memory();
  int64_t steps_left_ = 0, step_tokens_ = 0;
  int threads_ = 0;
  double evaluation_share_ = 0, total_ = 0;
  std::vector<double> seconds_;
  std::atomic<bool> stop_{false};
};

// Rehearses in this process.
Status rehearse(train::RunRequest request, bool timing, const std::string& scratch) {
  if (request.directory.empty()) request.directory = scratch;
  train::RunSamples samples;
  // Whether a run may go on depends on all its data.
  if (!request.resume) {
    ThreadPool threads(threads_or_all(request.config.train.threads));
    FATHOM_ASSIGN(samples, train::sample_run_data(request.config.data, request.directory, scratch,
                                                  kMostTextTokens, threads));
  }
  Report report(std::move(samples));
  constexpr int64_t kSteps = 3;
  request.rehearsal = timing ? kSteps : -1;
  request.scratch = scratch;
  request.stop = report.stop();
  request.observers = {&report};
  FATHOM_TRY(train::run_training(request));
  report.print_time();
  std::cout << "\nnothing was written\n";
  return {};
}

std::atomic<pid_t> worker{0};
static_assert(std::atomic<pid_t>::is_always_lock_free, "used in a signal handler");

void hand_on(int signal) {
  if (const pid_t child = worker.load(); child > 0) ::kill(child, signal);
}

// How the process ended that did the work.
Result<int> exit_code_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  worker.store(0);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM)
    return make_error("stopped; nothing was written", ErrorKind::kCancelled);
  return invalid("the dry run was ended by signal " + std::to_string(WTERMSIG(status)));
}

}  // namespace

Result<int> dry_run(train::RunRequest request, bool timing) {
  FATHOM_ASSIGN(const ScratchDirectory scratch, ScratchDirectory::create("fathom-dry-run"));
  // A signal that comes before there is somebody to hand it on to waits.
  sigset_t held, before;
  sigemptyset(&held);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&held, signal);
  ::sigprocmask(SIG_BLOCK, &held, &before);
  const pid_t child = ::fork();
  if (child > 0) {
    worker.store(child);
    struct sigaction action {};
    action.sa_handler = hand_on;
    for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return io_error(std::string("cannot start a process: ") + std::strerror(errno));
  if (child > 0) return exit_code_of(child);
  FATHOM_TRY(rehearse(std::move(request), timing, scratch.path()));
  return kExitOk;
}

}  // namespace fathom::cli
