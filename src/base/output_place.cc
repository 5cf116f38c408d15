#include "base/output_place.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace fathom {

namespace {

namespace fs = std::filesystem;

// What the links at `path` lead to, there or not.
Result<std::string> end_of_links(const std::string& path) {
  constexpr int kMostLinks = 40;  // as many as the system follows
  fs::path end = path;
  for (int links = 0; links <= kMostLinks; ++links) {
    std::error_code no_link;
    const fs::path next = fs::read_symlink(end, no_link);
    if (no_link) return end.string();
    end = end.parent_path() / next;
  }
  return io_error(path + ": cannot create: " + std::strerror(ELOOP));
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

Result<OutputPlace> OutputPlace::find(const std::string& path) {
  OutputPlace place(path);
  struct stat found {};
  const bool there = ::stat(path.c_str(), &found) == 0;
  if (there && S_ISDIR(found.st_mode)) return invalid(path + " is a directory, expected a file to write");
  if (there && !S_ISREG(found.st_mode)) return place;
  FATHOM_ASSIGN(std::string target, end_of_links(path));
  if (there) {
    // A link of /proc may lead to a file that has no name any more.
    struct stat named {};
    const bool same =
        ::stat(target.c_str(), &named) == 0 && named.st_dev == found.st_dev && named.st_ino == found.st_ino;
    if (!same) return place;
    place.permissions_ = found.st_mode & 0777;
  }
  place.target_ = std::move(target);
  place.temporary_ = place.target_ + ".tmp-" + std::to_string(::getpid());
  return place;
}

Result<OutputFile> OutputPlace::open() const {
  return OutputFile::create(replaces() ? temporary_ : target_, path_, permissions_);
}

Status OutputPlace::commit(OutputFile& file) const {
  if (!replaces()) return file.close();  // a pipe and most devices cannot be flushed
  FATHOM_TRY(file.sync());
  FATHOM_TRY(file.close());
  FATHOM_TRY(rename_path(temporary_, target_));
  return sync_directory(parent_of(target_));
}

void OutputPlace::discard() const {
  // The failure before is the one to report; a leftover is not mistaken for the file.
  if (replaces()) static_cast<void>(remove_tree(temporary_));
}

}  // namespace fathom
