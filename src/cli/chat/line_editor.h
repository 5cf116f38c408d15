// Lines from a user: on a terminal with editing keys and a history, elsewhere as they come.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/line_reader.h"

namespace fathom::cli::chat {

class LineEditor {
 public:
  // Reads from standard input; prompts go to standard output, on a terminal only.
  explicit LineEditor(std::string prompt);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class Got : uint8_t { kLine, kEnd, kInterrupt };
  // The next line without its end. A line that ends in a backslash goes on in the next one. kInterrupt:
  // Ctrl-C, the line is dropped. Error: lines that go on beyond LineReader::kMaxLine, a failing read.
  Result<Got> next(std::string& line);

  bool terminal() const { return terminal_ != nullptr; }

 private:
  struct Terminal;
  Result<Got> next_line(std::string& line, bool continued);
  std::unique_ptr<Terminal> terminal_;  // null where standard input is none, which has a reader
  std::optional<LineReader> reader_;
};

}  // namespace fathom::cli::chat
