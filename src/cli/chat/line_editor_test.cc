// Whatever ends a program that waits for a key, the terminal is as it was before.
#include "cli/chat/line_editor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>

namespace fathom::cli::chat {
namespace {

constexpr tcflag_t kCooked = ICANON | ECHO;

tcflag_t mode_of(int terminal) {
  termios settings = {};
  EXPECT_EQ(::tcgetattr(terminal, &settings), 0);
  return settings.c_lflag & kCooked;
}

// Until the terminal's mode is this one, a minute at most. What is shown is read, so that nobody waits for
// it.
bool comes_to(tcflag_t mode, int terminal, int screen) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (mode_of(terminal) != mode) {
    if (std::chrono::steady_clock::now() > limit) return false;
    pollfd ready = {.fd = screen, .events = POLLIN, .revents = 0};
    char shown[4096];
    if (::poll(&ready, 1, 10) > 0) static_cast<void>(!::read(screen, shown, sizeof shown));
  }
  return true;
}

TEST(LineEditor, ASignalThatEndsTheProgramGivesTheTerminalBack) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    int screen = -1, terminal = -1;
    if (::openpty(&screen, &terminal, nullptr, nullptr, nullptr) != 0)
      GTEST_SKIP() << "this system gives no pseudo-terminal";
    ASSERT_EQ(mode_of(terminal), kCooked);
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("TERM", "xterm", 1);
      std::signal(signal, SIG_DFL);
      for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(terminal, stream);
      LineEditor editor("> ");
      std::string line;
      static_cast<void>(editor.next(line).ok());
      ::_exit(1);
    }
    EXPECT_TRUE(comes_to(0, terminal, screen)) << "it edits the line";
    ::kill(child, signal);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal);
    EXPECT_EQ(mode_of(terminal), kCooked);
    ::close(screen);
    ::close(terminal);
  }
}

}  // namespace
}  // namespace fathom::cli::chat
