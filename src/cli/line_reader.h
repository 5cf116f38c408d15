// Lines of a file or of standard input, one at a time, so that a file larger than memory can pass through.
#pragma once

#include <fstream>
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

  // "FILE, line N" of the line that next() gave, for messages.
  std::string place() const { return name_ + ", line " + std::to_string(number_); }

 private:
  LineReader(std::string name, std::ifstream file, char terminator);
  // Fills the buffer again; false at the end.
  Result<bool> fill();

  std::string name_;
  std::ifstream file_;
  bool standard_input_;
  char terminator_;
  std::vector<char> buffer_;
  size_t at_ = 0, end_ = 0;
  int64_t number_ = 0;
};

}  // namespace fathom::cli
