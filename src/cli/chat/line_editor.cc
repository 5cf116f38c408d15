#include "cli/chat/line_editor.h"

#include <histedit.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iostream>

namespace fathom::cli::chat {

namespace {

volatile std::sig_atomic_t interrupted = 0;

void note_interrupt(int) { interrupted = 1; }

// While it lives, Ctrl-C ends the read that waits for a key.
class InterruptibleRead {
 public:
  InterruptibleRead() {
    interrupted = 0;
    struct sigaction action = {};
    action.sa_handler = note_interrupt;  // without SA_RESTART
    sigaction(SIGINT, &action, &before_);
  }
  ~InterruptibleRead() { sigaction(SIGINT, &before_, nullptr); }
  InterruptibleRead(const InterruptibleRead&) = delete;
  InterruptibleRead& operator=(const InterruptibleRead&) = delete;

 private:
  struct sigaction before_ = {};
};

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
  el_source(terminal_->editor, nullptr);  // the user's own ~/.editrc
}

LineEditor::~LineEditor() {
  if (terminal_ == nullptr) return;
  history_end(terminal_->history);
  el_end(terminal_->editor);
}

LineEditor::Got LineEditor::next_line(std::string& line, bool continued) {
  if (terminal_ == nullptr) {
    return std::getline(std::cin, line) ? Got::kLine : Got::kEnd;
  }
  const InterruptibleRead reading;
  terminal_->continued = continued;
  int count = 0;
  const char* text = el_gets(terminal_->editor, &count);
  if (interrupted != 0) {
    el_reset(terminal_->editor);
    std::cout << "\n";
    return Got::kInterrupt;
  }
  if (text == nullptr || count <= 0) return Got::kEnd;
  line.assign(text, static_cast<size_t>(count));
  if (line.ends_with('\n')) line.pop_back();
  return Got::kLine;
}

LineEditor::Got LineEditor::next(std::string& line) {
  line.clear();
  for (std::string part;;) {
    const Got got = next_line(part, !line.empty());
    if (got == Got::kInterrupt || (got == Got::kEnd && line.empty())) return got;
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
