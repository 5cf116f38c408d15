#include "cli/line_reader.h"

#include <cstring>
#include <iostream>

namespace fathom::cli {

namespace {
constexpr size_t kBuffer = 1 << 20;
}

LineReader::LineReader(std::string name, std::ifstream file, char terminator)
    : name_(std::move(name)),
      file_(std::move(file)),
      standard_input_(!file_.is_open()),
      terminator_(terminator),
      buffer_(kBuffer) {}

Result<LineReader> LineReader::open(const std::string& path, char terminator) {
  if (path == "-") return LineReader("standard input", std::ifstream(), terminator);
  std::ifstream file(path, std::ios::binary);
  if (!file) return io_error(path + ": cannot be opened for reading");
  return LineReader(path, std::move(file), terminator);
}

Result<bool> LineReader::fill() {
  std::istream& in = standard_input_ ? std::cin : file_;
  in.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
  if (in.bad()) return io_error(name_ + ": reading failed after line " + std::to_string(number_));
  at_ = 0;
  end_ = static_cast<size_t>(in.gcount());
  return end_ > 0;
}

Result<bool> LineReader::next(std::string& line) {
  line.clear();
  bool started = false;
  for (;;) {
    if (at_ == end_) {
      FATHOM_ASSIGN(const bool more, fill());
      if (!more) {
        number_ += started ? 1 : 0;
        return started;
      }
    }
    started = true;
    const char* begin = buffer_.data() + at_;
    const auto* stop = static_cast<const char*>(std::memchr(begin, terminator_, end_ - at_));
    const size_t size = stop == nullptr ? end_ - at_ : static_cast<size_t>(stop - begin);
    if (line.size() + size > kMaxLine) {
      return invalid(name_ + ": line " + std::to_string(number_ + 1) + " exceeds the limit of " +
                     std::to_string(kMaxLine) + " bytes");
    }
    line.append(begin, size);
    at_ += size;
    if (stop == nullptr) continue;
    ++at_;
    ++number_;
    return true;
  }
}

}  // namespace fathom::cli
