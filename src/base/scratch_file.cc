#include "base/scratch_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/file.h"

namespace fathom {

namespace {

Error failed(const char* what, const std::string& directory, int code) {
  return io_error(directory + ": cannot " + what + " a scratch file: " + std::strerror(code));
}

// Without a name from the start, or, where the file system knows no such files, with one for a moment.
int open_nameless(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string path = directory + "/fathom-XXXXXX";
  const int named = ::mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(path.c_str());
  return named;
}

}  // namespace

Result<ScratchFile> ScratchFile::open(const std::string& directory) {
  const int fault = injected_fault(FileOp::kOpen, directory);
  const int fd = fault != 0 ? -1 : open_nameless(directory);
  if (fd < 0) return failed("make", directory, fault != 0 ? fault : errno);
  return ScratchFile(fd, directory);
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), directory_(std::move(other.directory_)) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(directory_, other.directory_);
  return *this;
}

ScratchFile::~ScratchFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status ScratchFile::append(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const int fault = injected_fault(FileOp::kWrite, directory_);
    const ssize_t done = fault != 0 ? -1 : ::write(fd_, bytes.data(), bytes.size());
    if (done < 0) {
      const int code = fault != 0 ? fault : errno;
      if (code == EINTR) continue;
      return failed("write", directory_, code);
    }
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return {};
}

Status ScratchFile::read(int64_t offset, std::span<uint8_t> out) const {
  while (!out.empty()) {
    const int fault = injected_fault(FileOp::kRead, directory_);
    const ssize_t done = fault != 0 ? -1 : ::pread(fd_, out.data(), out.size(), offset);
    if (done <= 0) {
      const int code = fault != 0 ? fault : done < 0 ? errno : ENODATA;
      if (code == EINTR) continue;
      return failed("read", directory_, code);
    }
    offset += done;
    out = out.subspan(static_cast<size_t>(done));
  }
  return {};
}

}  // namespace fathom
