// Commands as a user starts them, through the shell or on a terminal of their own.
#pragma once

#include <pty.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace fathom::testing {

struct Output {
  int code = -1;
  std::string text;  // of both streams
};

// Through the shell, in the folder of the sources.
inline Output run(const std::string& command) {
  Output output;
  FILE* pipe = popen(("cd '" FATHOM_SOURCE_DIR "' && " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof buffer, pipe)) output.text.append(buffer, got);
  const int status = pclose(pipe);
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return output;
}

inline bool can_open_terminal() {
  int ours = -1, theirs = -1;
  if (::openpty(&ours, &theirs, nullptr, nullptr, nullptr) != 0) return false;
  ::close(ours);
  ::close(theirs);
  return true;
}

// Whether Terminal will work. In a bare root, which has no /dev/pts, this process mounts one that it alone
// sees, if it has the right.
inline bool has_terminals() {
  if (can_open_terminal()) return true;
  return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/dev", nullptr, MS_PRIVATE, nullptr) == 0 &&
         ::mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666") == 0 && can_open_terminal();
}

// A process whose three streams are a terminal; text sent to it is typed there.
class Terminal {
 public:
  explicit Terminal(std::vector<std::string> command) {
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    child_ = ::forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (child_ == 0) {
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~Terminal() { ::close(terminal_); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Reads until `text` was printed; false if the process ends before that.
  bool wait_for(const std::string& text) {
    while (output_.find(text) == std::string::npos) {
      if (!read_some()) return false;
    }
    return true;
  }
  void type(const std::string& keys) {
    if (::write(terminal_, keys.data(), keys.size()) < 0) std::perror("write to the terminal");
  }
  // Status as waitpid() gives it.
  int wait() {
    while (read_some()) {
    }
    int status = 0;
    ::waitpid(child_, &status, 0);
    return status;
  }
  const std::string& output() const { return output_; }

 private:
  bool read_some() {
    char buffer[4096];
    const ssize_t got = ::read(terminal_, buffer, sizeof buffer);  // fails when the other side is closed
    if (got <= 0) return false;
    output_.append(buffer, static_cast<size_t>(got));
    return true;
  }
  int terminal_ = -1;
  pid_t child_ = -1;
  std::string output_;
};

}  // namespace fathom::testing
