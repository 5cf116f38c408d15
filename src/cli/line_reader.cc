#include "cli/line_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace fathom::cli {

namespace {
constexpr size_t kBuffer = 1 << 20;
}

LineReader::LineReader(int fd, std::string name, char terminator)
    : fd_(fd), name_(std::move(name)), terminator_(terminator), buffer_(kBuffer) {}

LineReader::LineReader(LineReader&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      name_(std::move(other.name_)),
      terminator_(other.terminator_),
      buffer_(std::move(other.buffer_)),
      at_(other.at_),
      end_(other.end_),
      number_(other.number_) {}

LineReader::~LineReader() {
  if (fd_ > STDERR_FILENO) ::close(fd_);
}

Result<LineReader> LineReader::open(const std::string& path, char terminator) {
  if (path == "-") return LineReader(STDIN_FILENO, "standard input", terminator);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return io_error(path + ": cannot be opened for reading");
  return LineReader(fd, path, terminator);
}

Result<bool> LineReader::fill() {
  ssize_t got = -1;
  do {
    got = ::read(fd_, buffer_.data(), buffer_.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) return io_error(name_ + ": reading failed after line " + std::to_string(number_));
  at_ = 0;
  end_ = static_cast<size_t>(got);
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
