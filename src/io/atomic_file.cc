#include "io/atomic_file.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

namespace fathom {

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  const std::string temporary = path + ".tmp-" + std::to_string(::getpid());
  FATHOM_ASSIGN(OutputFile file, OutputFile::create(temporary));
  return AtomicFile(std::move(file), path, temporary);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : file_(std::move(other.file_)),
      path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})) {}

AtomicFile::~AtomicFile() {
  if (temporary_.empty()) return;
  file_.reset();
  // Nothing can be reported from here, and nothing depends on it: a leftover is not mistaken for the file.
  static_cast<void>(remove_tree(temporary_));
}

Status AtomicFile::commit() {
  FATHOM_TRY(file_->sync());
  FATHOM_TRY(file_->close());
  FATHOM_TRY(rename_path(temporary_, path_));
  temporary_.clear();
  const std::string parent = std::filesystem::path(path_).parent_path().string();
  return sync_directory(parent.empty() ? "." : parent);
}

}  // namespace fathom
