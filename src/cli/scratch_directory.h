// A folder of its own under the system's temporary one, removed with all that is in it.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace fathom::cli {

class ScratchDirectory {
 public:
  // `name` begins the folder's name.
  static Result<ScratchDirectory> create(const std::string& name);
  ScratchDirectory(ScratchDirectory&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  ScratchDirectory& operator=(ScratchDirectory&&) = delete;
  ~ScratchDirectory();
  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace fathom::cli
