// Lines of a file or of standard input, one at a time, so that a file larger than memory can pass through;
// from a pipe each as soon as it has come.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace fathom::cli {

class LineReader {
 public:
  static constexpr size_t kMaxLine = size_t{64} << 20;  // bytes

  // A path, or "-" for standard input. Lines end with `terminator`.
  static Result<LineReader> open(const std::string& path, char terminator = '\n');

  // False at the end. `line` comes without its terminator; a last line need not have one. Error: a line
  // longer than kMaxLine, a failing read.
  Result<bool> next(std::string& line);

  LineReader(LineReader&& other) noexcept;
  LineReader& operator=(LineReader&& other) = delete;
  ~LineReader();

  // "FILE, line N" of the line that next() gave, for messages.
  std::string place() const { return name_ + ", line " + std::to_string(number_); }

 private:
  LineReader(int fd, std::string name, char terminator);
  // Fills the buffer again with what has come; false at the end.
  Result<bool> fill();

  int fd_;
  std::string name_;
  char terminator_;
  std::vector<char> buffer_;
  size_t at_ = 0, end_ = 0;
  int64_t number_ = 0;
};

}  // namespace fathom::cli
