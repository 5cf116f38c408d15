#include "cli/chat/line_editor.h"

#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <clocale>
#include <cstdlib>
#include <cwchar>
#include <iostream>

namespace fathom::cli::chat {

namespace {

// Ctrl-C as something to wait for beside a key: whichever thread the signal comes to, and when.
int interrupt_pipe[2] = {-1, -1};

void note_interrupt(int) {
  const int error = errno;
  [[maybe_unused]] const ssize_t wrote = ::write(interrupt_pipe[1], "", 1);
  errno = error;
}

bool take_interrupt() {
  char bytes[16];
  return ::read(interrupt_pipe[0], bytes, sizeof bytes) > 0;
}

termios before_editing;  // what the terminal was like

// The signal ends the process, as it would anyway, and leaves the terminal as it was.
void restore_and_end(int signal) {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_editing);
  ::raise(signal);  // its handler is the default one by now; delivered when this one returns
}

// While it lives, Ctrl-C ends the wait for a key, and what ends the process gives the terminal back.
class InterruptibleRead {
 public:
  InterruptibleRead() {
    for (size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler == SIG_IGN && kSignals[i] != SIGINT) continue;  // as under nohup
      struct sigaction action = {};
      action.sa_handler = kSignals[i] == SIGINT ? note_interrupt : restore_and_end;
      action.sa_flags = kSignals[i] == SIGINT ? 0 : static_cast<int>(SA_RESETHAND);
      sigaction(kSignals[i], &action, nullptr);
    }
  }
  ~InterruptibleRead() {
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  InterruptibleRead(const InterruptibleRead&) = delete;
  InterruptibleRead& operator=(const InterruptibleRead&) = delete;

 private:
  static constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, 3> before_ = {};
};

bool interrupted = false;  // while the last key was waited for

// One character for libedit; 0 at the end of the input and on Ctrl-C.
int read_key(EditLine*, wchar_t* key) {
  std::mbstate_t state = {};
  for (;;) {
    pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                      {.fd = interrupt_pipe[0], .events = POLLIN, .revents = 0}};
    if (::poll(ready, 2, -1) < 0 && errno != EINTR) return -1;
    if (take_interrupt()) {
      interrupted = true;
      return 0;
    }
    if (ready[0].revents == 0) continue;
    char byte = 0;
    const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return static_cast<int>(got);
    const size_t size = std::mbrtowc(key, &byte, 1, &state);
    if (size == static_cast<size_t>(-2)) continue;  // more bytes belong to it
    if (size == static_cast<size_t>(-1)) {          // none of the encoding: left out
      state = {};
      continue;
    }
    return 1;
  }
}

}  // namespace

struct LineEditor::Terminal {
  std::string prompt;
  bool continued = false;
  EditLine* editor = nullptr;
  History* history = nullptr;

  static char* prompt_of(EditLine* editor) {
    void* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    auto* terminal = static_cast<Terminal*>(self);
    static char continuation[] = ". ";
    return terminal->continued ? continuation : terminal->prompt.data();
  }
};

LineEditor::LineEditor(std::string prompt) {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0) return;
  if (::tcgetattr(STDIN_FILENO, &before_editing) != 0) return;
  if (::pipe2(interrupt_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return;
  // Characters are those of the user's locale; where that is plain C, UTF-8 all the same.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  terminal_ = std::make_unique<Terminal>();
  terminal_->prompt = std::move(prompt);
  terminal_->editor = el_init("fathom", stdin, stdout, stderr);
  terminal_->history = history_init();
  HistEvent event;
  history(terminal_->history, &event, H_SETSIZE, 1000);
  history(terminal_->history, &event, H_SETUNIQUE, 1);
  el_set(terminal_->editor, EL_CLIENTDATA, terminal_.get());
  el_set(terminal_->editor, EL_PROMPT, &Terminal::prompt_of);
  el_set(terminal_->editor, EL_EDITOR, "emacs");
  el_set(terminal_->editor, EL_HIST, &::history, terminal_->history);
  el_set(terminal_->editor, EL_SIGNAL, 0);
  el_set(terminal_->editor, EL_GETCFN, &read_key);
  el_source(terminal_->editor, nullptr);  // the user's own ~/.editrc
}

LineEditor::~LineEditor() {
  if (terminal_ == nullptr) return;
  history_end(terminal_->history);
  el_end(terminal_->editor);
  ::close(interrupt_pipe[0]);
  ::close(interrupt_pipe[1]);
}

Result<LineEditor::Got> LineEditor::next_line(std::string& line, bool continued) {
  if (terminal_ == nullptr) {
    if (!reader_) {
      FATHOM_ASSIGN(LineReader reader, LineReader::open("-"));
      reader_.emplace(std::move(reader));
    }
    FATHOM_ASSIGN(const bool more, reader_->next(line));
    return more ? Got::kLine : Got::kEnd;
  }
  const InterruptibleRead reading;
  terminal_->continued = continued;
  // Before the prompt is shown: libedit does it after that, and a key pressed in between would not be its
  // own.
  el_set(terminal_->editor, EL_PREP_TERM, 1);
  interrupted = false;
  int count = 0;
  const char* text = el_gets(terminal_->editor, &count);
  if (interrupted) {
    el_reset(terminal_->editor);
    std::cout << "\n";
    return Got::kInterrupt;
  }
  if (text == nullptr || count <= 0) return Got::kEnd;
  line.assign(text, static_cast<size_t>(count));
  if (line.ends_with('\n')) line.pop_back();
  return Got::kLine;
}

Result<LineEditor::Got> LineEditor::next(std::string& line) {
  line.clear();
  for (std::string part;;) {
    FATHOM_ASSIGN(const Got got, next_line(part, !line.empty()));
    if (got == Got::kInterrupt || (got == Got::kEnd && line.empty())) return got;
    if (line.size() + part.size() > LineReader::kMaxLine) {
      return invalid("a message is longer than the limit of " + std::to_string(LineReader::kMaxLine) +
                     " bytes");
    }
    line += part;
    if (got == Got::kEnd || !line.ends_with('\\')) break;
    line.back() = '\n';
  }
  if (terminal_ != nullptr && line.find_first_not_of(" \t\n") != std::string::npos) {
    HistEvent event;
    history(terminal_->history, &event, H_ENTER, line.c_str());
  }
  return Got::kLine;
}

}  // namespace fathom::cli::chat
