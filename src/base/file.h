// The one seam through which Fathom writes files and reads them whole. Everything that must survive a crash
// goes through here, so that tests can make any operation fail or "crash" by its number.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fathom {

enum class FileOp : uint8_t { kOpen, kWrite, kFsync, kRename, kUnlink, kMkdir, kRead };

// A hook that sees each operation before it happens: returns 0 to let it pass, an errno to make it fail.
// Installed by tests only; one per process. An empty function removes it.
using FileFault = std::function<int(FileOp, const std::string& path)>;
void set_file_fault(FileFault fault);

// Sequential writer. Data is on its way to the disk after write(), and durable after sync(). Destroying an
// unclosed file closes the descriptor and leaves what was written.
class OutputFile {
 public:
  static Result<OutputFile> create(const std::string& path);  // truncates
  static Result<OutputFile> append(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  Status write(std::span<const uint8_t> bytes);
  Status write(std::string_view text);
  Status sync();   // fsync
  Status close();  // reports a failing close

 private:
  OutputFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::string path_;
};

// Read-only memory map of a whole file; an empty file maps to an empty span. Unmapped on destruction.
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

// Writes `path` so that a reader sees the old content or the new, never a part: temporary file, fsync,
// rename, fsync of the folder.
Status write_file_atomic(const std::string& path, std::string_view content);

Status rename_path(const std::string& from, const std::string& to);
// Swaps two existing paths in one step. kNotSupported where the file system cannot.
Status exchange_paths(const std::string& a, const std::string& b);
Status make_directories(const std::string& path);
Status remove_tree(const std::string& path);  // no error if absent
Status sync_directory(const std::string& path);

}  // namespace fathom
