#include "cli/dry_run.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>

#include "cli/command.h"
#include "cli/figures.h"
#include "cli/scratch_directory.h"
#include "plan/describe.h"
#include "train/memory_estimate.h"

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

class Report final : public train::TrainObserver {
 public:
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
    for (const train::SourceSummary& source : summary.sources) {
      const double rows = source.share * static_cast<double>(summary.config->train.steps * step_tokens_) /
                          static_cast<double>(summary.config->data.sequence_length);
      print_line(source.name, count(source.tokens) + " tokens",
                 std::to_string(source.rows) + " rows of " +
                     std::to_string(summary.config->data.sequence_length) + ", " +
                     rounded(100 * source.share, 2) + " % of the run, seen " +
                     rounded(rows / static_cast<double>(source.rows), 2) + " times");
    }
    if (summary.valid_rows > 0) print_line("validation", std::to_string(summary.valid_rows) + " rows");
    if (summary.first_step > 0) print_line("goes on at step", std::to_string(summary.first_step));
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
  }

  int64_t steps_left_ = 0, step_tokens_ = 0;
  int threads_ = 0;
  double evaluation_share_ = 0, total_ = 0;
  std::vector<double> seconds_;
  std::atomic<bool> stop_{false};
};

// Rehearses in this process.
Status rehearse(train::RunRequest request, bool timing, const std::string& scratch) {
  Report report;
  constexpr int64_t kSteps = 3;
  request.rehearsal = timing ? kSteps : -1;
  request.scratch = scratch;
  if (request.directory.empty()) request.directory = scratch;
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
