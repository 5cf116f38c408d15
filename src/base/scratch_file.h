// A file without a name, for what is put aside while the process lives: it goes with the object, or with the
// process however that ends.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace fathom {

class ScratchFile {
 public:
  // On the file system of `directory`.
  static Result<ScratchFile> open(const std::string& directory);
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;
  ~ScratchFile();

  // Behind what was written before. Error: as a full disk; what was written of it is there.
  Status append(std::span<const uint8_t> bytes);
  // All of `out`, from `offset` on. Error: there are fewer bytes.
  Status read(int64_t offset, std::span<uint8_t> out) const;

 private:
  ScratchFile(int fd, std::string directory) : fd_(fd), directory_(std::move(directory)) {}
  int fd_ = -1;
  std::string directory_;
};

}  // namespace fathom
