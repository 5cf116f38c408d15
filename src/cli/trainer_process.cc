#include "cli/trainer_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

extern char** environ;

namespace fathom::cli {

namespace {

constexpr size_t kMaxCaptured = size_t{64} << 20;

// While the child runs, Ctrl-C is its business: it stops cleanly and we report its exit code.
class IgnoreInterrupt {
 public:
  IgnoreInterrupt() : previous_(std::signal(SIGINT, SIG_IGN)) {}
  ~IgnoreInterrupt() { std::signal(SIGINT, previous_); }
  IgnoreInterrupt(const IgnoreInterrupt&) = delete;
  IgnoreInterrupt& operator=(const IgnoreInterrupt&) = delete;

 private:
  void (*previous_)(int);
};

}  // namespace

Result<std::string> find_trainer() {
  std::error_code code;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", code);
  const std::filesystem::path trainer = self.parent_path() / "fathom-train";
  if (code || ::access(trainer.c_str(), X_OK) != 0) {
    return not_found("fathom-train is not beside " + self.string() +
                     "; build it with LibTorch (tools/fetch-libtorch, preset release)");
  }
  return trainer.string();
}

namespace {

// A command line as system calls want it; `words` lives as long as it is used.
std::vector<char*> argv_of(std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return argv;
}

std::vector<std::string> command_line(const std::string& trainer, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {trainer};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

}  // namespace

Error become_trainer(const std::string& trainer, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = command_line(trainer, arguments);
  ::execv(trainer.c_str(), argv_of(words).data());
  return io_error("cannot start " + trainer + ": " + strerror(errno));
}

Result<ProcessOutput> run_trainer(const std::string& trainer, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = command_line(trainer, arguments);
  const std::vector<char*> argv = argv_of(words);

  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return io_error(std::string("cannot make a pipe: ") + strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  // The child starts with the default action, whatever ours is.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGINT);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);

  const IgnoreInterrupt ignore;
  pid_t child = 0;
  const int failure = ::posix_spawn(&child, trainer.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(ends[1]);
  if (failure != 0) {
    ::close(ends[0]);
    return io_error("cannot start " + trainer + ": " + strerror(failure));
  }
  ProcessOutput output;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = ::read(ends[0], buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (output.text.size() < kMaxCaptured) output.text.append(buffer, static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  output.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return output;
}

}  // namespace fathom::cli
