#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/output_place.h"

namespace fathom {

namespace {

FileFault& fault_hook() {
  static FileFault hook;
  return hook;
}

// What a test wants to happen.
FileOutcome outcome_of(FileOp op, const std::string& path) {
  return fault_hook() ? fault_hook()(op, path) : FileOutcome();
}

Error failed(const std::string& what, const std::string& path, int code) {
  Error error = io_error(path + ": cannot " + what + ": " + std::strerror(code));
  if (code == ENOENT) error.kind = ErrorKind::kNotFound;
  return error;
}

// Errors call the file `shown`.
Result<int> open_file(const std::string& path, int flags, FileOp op, const char* what,
                      const std::string& shown, mode_t permissions = 0644) {
  if (int code = injected_fault(op, path)) return failed(what, shown, code);
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, permissions);
  if (fd < 0) return failed(what, shown, errno);
  return fd;
}
Result<int> open_file(const std::string& path, int flags, FileOp op, const char* what) {
  return open_file(path, flags, op, what, path);
}

}  // namespace

void set_file_fault(FileFault fault) { fault_hook() = std::move(fault); }

int injected_fault(FileOp op, const std::string& path) { return outcome_of(op, path).error; }

Result<OutputFile> OutputFile::create(const std::string& path) { return create(path, path, std::nullopt); }

Result<OutputFile> OutputFile::create(const std::string& path, const std::string& shown,
                                      std::optional<uint32_t> permissions) {
  FATHOM_ASSIGN(const int fd, open_file(path, O_WRONLY | O_CREAT | O_TRUNC, FileOp::kOpen, "create", shown,
                                        permissions.value_or(0644)));
  // The umask took some of them. Where they cannot be set the file keeps fewer, never more.
  if (permissions) static_cast<void>(::fchmod(fd, *permissions));
  return OutputFile(fd, path, shown);
}

Result<OutputFile> OutputFile::append(const std::string& path) {
  FATHOM_ASSIGN(int fd, open_file(path, O_WRONLY | O_CREAT | O_APPEND, FileOp::kOpen, "open for appending"));
  return OutputFile(fd, path, path);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), shown_(std::move(other.shown_)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(shown_, other.shown_);
  return *this;
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status OutputFile::write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const FileOutcome outcome = outcome_of(FileOp::kWrite, path_);
    const ssize_t done =
        outcome.error != 0 ? -1 : ::write(fd_, bytes.data(), std::min(bytes.size(), outcome.at_most));
    if (done < 0) {
      const int code = outcome.error != 0 ? outcome.error : errno;
      if (code == EINTR) continue;
      return failed("write", shown_, code);
    }
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return {};
}

Status OutputFile::write(std::string_view text) {
  return write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

Status OutputFile::sync() {
  if (int code = injected_fault(FileOp::kFsync, path_)) return failed("flush", shown_, code);
  if (::fsync(fd_) != 0) return failed("flush", shown_, errno);
  return {};
}

Status OutputFile::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd < 0) return {};
  // The descriptor is gone whatever close() says.
  const int code = ::close(fd) != 0 ? errno : 0;
  if (const int fault = injected_fault(FileOp::kClose, path_)) return failed("close", shown_, fault);
  if (code != 0) return failed("close", shown_, code);
  return {};
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  // Without O_NONBLOCK the opening of a named pipe waits until somebody writes to it.
  FATHOM_ASSIGN(int fd, open_file(path, O_RDONLY | O_NONBLOCK, FileOp::kRead, "open"));
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return invalid(path + ": not a regular file");
  }
  MappedFile file;
  file.size_ = static_cast<size_t>(info.st_size);
  if (file.size_ > 0) {
    void* address = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) {
      const int code = errno;
      ::close(fd);
      file.size_ = 0;
      return failed("map", path, code);
    }
    file.data_ = static_cast<const uint8_t*>(address);
  }
  ::close(fd);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
}

namespace {

Result<std::string> read_to_end(int fd, const std::string& name, uint64_t limit) {
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const FileOutcome outcome = outcome_of(FileOp::kRead, name);
    const ssize_t got =
        outcome.error != 0 ? -1 : ::read(fd, buffer, std::min(sizeof buffer, outcome.at_most));
    if (got < 0) {
      const int code = outcome.error != 0 ? outcome.error : errno;
      if (code == EINTR) continue;
      return failed("read", name, code);
    }
    if (got == 0) return content;
    if (content.size() + static_cast<size_t>(got) > limit) {
      return invalid(name + ": larger than the limit of " + std::to_string(limit) + " bytes");
    }
    content.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace

Result<std::string> read_file(const std::string& path, uint64_t limit) {
  FATHOM_ASSIGN(const int fd, open_file(path, O_RDONLY, FileOp::kRead, "open"));
  Result<std::string> content = read_to_end(fd, path, limit);
  ::close(fd);
  return content;
}

Result<std::string> read_standard_input(uint64_t limit) {
  return read_to_end(STDIN_FILENO, "standard input", limit);
}

namespace {

Status write_to(const OutputPlace& place, std::string_view content) {
  FATHOM_ASSIGN(OutputFile file, place.open());
  FATHOM_TRY(file.write(content));
  return place.commit(file);
}

}  // namespace

Status write_file_atomic(const std::string& path, std::string_view content) {
  FATHOM_ASSIGN(const OutputPlace place, OutputPlace::find(path));
  Status placed = write_to(place, content);
  if (!placed.ok()) place.discard();
  return placed;
}

Status rename_path(const std::string& from, const std::string& to) {
  if (int code = injected_fault(FileOp::kRename, to)) return failed("rename to", to, code);
  if (::rename(from.c_str(), to.c_str()) != 0) return failed("rename to", to, errno);
  return {};
}

Status exchange_paths(const std::string& a, const std::string& b) {
  if (int code = injected_fault(FileOp::kRename, b)) return failed("exchange with " + a, b, code);
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) != 0) {
    const int code = errno;
    if (code == EINVAL || code == ENOSYS) {
      return not_supported(b + ": this file system cannot exchange two directories in one step");
    }
    return failed("exchange with " + a, b, code);
  }
  return {};
}

Status make_directories(const std::string& path, const std::string& shown) {
  const std::string& name = shown.empty() ? path : shown;
  if (int code = injected_fault(FileOp::kMkdir, path)) return failed("create directory", name, code);
  std::error_code code;
  std::filesystem::path passed;
  for (const std::filesystem::path& part : std::filesystem::path(path)) {
    // Nothing is made that the path only leads through and out of again.
    if (part == ".." && !passed.empty() && !std::filesystem::exists(passed, code))
      return failed("create directory", name, ENOENT);
    passed /= part;
  }
  std::filesystem::create_directories(path, code);
  if (code) return failed("create directory", name, code.value());
  return {};
}

namespace {

Status remove_one(const std::string& path) {
  if (int code = injected_fault(FileOp::kUnlink, path)) return failed("remove", path, code);
  std::error_code code;
  std::filesystem::remove(path, code);
  if (code) return failed("remove", path, code.value());
  return {};
}

}  // namespace

Status remove_tree(const std::string& path) {
  std::error_code code;
  const std::filesystem::file_type type = std::filesystem::symlink_status(path, code).type();
  if (type == std::filesystem::file_type::not_found) return {};
  if (code) return failed("remove", path, code.value());
  if (type == std::filesystem::file_type::directory) {
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator entry(path, code), end; !code && entry != end;
         entry.increment(code)) {
      names.push_back(entry->path().string());
    }
    if (code) return failed("list", path, code.value());
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) FATHOM_TRY(remove_tree(name));
  }
  return remove_one(path);
}

Status sync_directory(const std::string& path) {
  FATHOM_ASSIGN(int fd, open_file(path, O_RDONLY | O_DIRECTORY, FileOp::kFsync, "open"));
  const int failure = ::fsync(fd) != 0 ? errno : 0;
  ::close(fd);
  // Some file systems cannot flush a folder; there is nothing more that could be done there.
  if (failure != 0 && failure != EINVAL) return failed("flush", path, failure);
  return {};
}

}  // namespace fathom
