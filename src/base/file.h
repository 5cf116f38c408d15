// The one seam through which Fathom writes files and reads them whole. Everything that must survive a crash
// goes through here, so that tests can make any operation fail or "crash" by its number.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fathom {

enum class FileOp : uint8_t { kOpen, kWrite, kFsync, kClose, kRename, kUnlink, kMkdir, kRead, kLock };

// What is to become of an operation: it fails with an errno, or a write or read moves fewer bytes than it was
// asked to, as the system may do at any time.
struct FileOutcome {
  int error = 0;
  size_t at_most = SIZE_MAX;                  // bytes; at least 1
  FileOutcome(int code = 0) : error(code) {}  // NOLINT(google-explicit-constructor)
  static FileOutcome shortened(size_t bytes) {
    FileOutcome outcome;
    outcome.at_most = bytes;
    return outcome;
  }
};

// A hook that sees each operation (one call of the system) before it happens. Installed by tests only; one
// per process, and called by the thread that works on the file. An empty function removes it.
using FileFault = std::function<FileOutcome(FileOp, const std::string& path)>;
void set_file_fault(FileFault fault);
// For what works on files elsewhere: the errno that the hook wants for this operation, or 0.
int injected_fault(FileOp op, const std::string& path);

// Sequential writer. Data is on its way to the disk after write(), and durable after sync(). Destroying an
// unclosed file closes the descriptor and leaves what was written.
class OutputFile {
 public:
  static Result<OutputFile> create(const std::string& path);  // truncates
  // The same of a file that errors call `shown`, with these permissions, if they are given.
  static Result<OutputFile> create(const std::string& path, const std::string& shown,
                                   std::optional<uint32_t> permissions);
  static Result<OutputFile> append(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  Status write(std::span<const uint8_t> bytes);
  Status write(std::string_view text);
  Status sync();   // fsync
  Status close();  // reports a failing close

 private:
  OutputFile(int fd, std::string path, std::string shown)
      : fd_(fd), path_(std::move(path)), shown_(std::move(shown)) {}
  int fd_ = -1;
  std::string path_, shown_;
};

// Read-only memory map of a whole file; an empty file maps to an empty span. Unmapped on destruction. What is
// no regular file, a folder or a pipe, is refused at once.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// The whole file as a string; an error if it is larger than `limit` bytes.
Result<std::string> read_file(const std::string& path, uint64_t limit = uint64_t{1} << 30);
// The same of standard input, to its end.
Result<std::string> read_standard_input(uint64_t limit);

// Writes `path` so that a reader sees the old content or the new, never a part: temporary file
// (`<path>.tmp-<pid>`), fsync, rename, fsync of the folder. On an error the temporary is removed. What is no
// new or regular file is not replaced: see base/output_place.h.
Status write_file_atomic(const std::string& path, std::string_view content);

Status rename_path(const std::string& from, const std::string& to);
// Swaps two existing paths in one step. kNotSupported where the file system cannot.
Status exchange_paths(const std::string& a, const std::string& b);
// With those above it. Errors call it `shown`, if that is given.
Status make_directories(const std::string& path, const std::string& shown = {});
// Entry by entry, what lies in a folder before the folder; links are not followed. No error if absent.
Status remove_tree(const std::string& path);
Status sync_directory(const std::string& path);

}  // namespace fathom
