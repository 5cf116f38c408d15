// A file written piece by piece that appears under its name complete or not at all: a temporary sibling,
// fsync, rename, fsync of the folder. Dropped without commit(), it removes the temporary. What is no new or
// regular file is not replaced: see base/output_place.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/output_place.h"

namespace fathom {

class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) = delete;
  ~AtomicFile();

  Status write(std::span<const uint8_t> bytes) { return file_->write(bytes); }
  Status write(std::string_view text) { return file_->write(text); }
  Status commit();  // once; nothing may be written afterwards
  const std::string& path() const { return path_; }

 private:
  AtomicFile(OutputFile file, std::string path, OutputPlace place)
      : file_(std::move(file)), path_(std::move(path)), place_(std::move(place)) {}

  std::optional<OutputFile> file_;
  std::string path_;
  std::optional<OutputPlace> place_;  // none: nothing is left to do, or to another object
};

}  // namespace fathom
