#include "io/atomic_file.h"

#include <utility>

namespace fathom {

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  FATHOM_ASSIGN(OutputPlace place, OutputPlace::find(path));
  FATHOM_ASSIGN(OutputFile file, place.open());
  return AtomicFile(std::move(file), path, std::move(place));
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : file_(std::move(other.file_)),
      path_(std::move(other.path_)),
      place_(std::exchange(other.place_, std::nullopt)) {}

AtomicFile::~AtomicFile() {
  if (!place_) return;
  file_.reset();
  place_->discard();
}

Status AtomicFile::commit() {
  FATHOM_TRY(place_->commit(*file_));
  place_.reset();
  return {};
}

}  // namespace fathom
