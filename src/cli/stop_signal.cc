#include "cli/stop_signal.h"

#include <unistd.h>

#include <csignal>
#include <ctime>
#include <string_view>

namespace fathom::cli {

namespace {

std::atomic<std::atomic<bool>*> stop_flag{nullptr};
std::atomic<const char*> sentence{nullptr};
std::atomic<int64_t> first_at{0};  // milliseconds
static_assert(std::atomic<void*>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free,
              "used in a signal handler");

int64_t milliseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

void on_signal(int signal) {
  constexpr int64_t kSameMilliseconds = 100;
  if (!stop_flag.load()->exchange(true)) {
    first_at.store(milliseconds());
    for (const std::string_view part : {std::string_view("\nstopping: "), std::string_view(sentence.load()),
                                        std::string_view("; Ctrl-C again ends at once\n")}) {
      static_cast<void>(!::write(STDERR_FILENO, part.data(), part.size()));
    }
  } else if (milliseconds() - first_at.load() >= kSameMilliseconds) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);  // delivered when this handler returns
  }
}

}  // namespace

void catch_stop_signals(std::atomic<bool>& stop, const char* what_follows) {
  sentence.store(what_follows);
  stop_flag.store(&stop);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

Status cancelled_if(const std::atomic<bool>& stop) {
  return stop.load() ? Status(make_error("stopped", ErrorKind::kCancelled)) : Status();
}

}  // namespace fathom::cli
