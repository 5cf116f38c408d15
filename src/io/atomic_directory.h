// A directory that appears under its name complete or not at all, and replaces an older one in one step.
//
// It is built as `<name>.tmp-<pid>-<n>` beside the target. commit() flushes every file and folder in it,
// renames it to the target (or exchanges the two, if the target exists) and flushes the parent; then the old
// content is removed. Whatever is killed when, a reader sees the old directory or the new one.
//
// The builder holds a lock on its temporary (base/directory_lock.h), which ends with its process. begin()
// removes temporaries of the same target that nobody holds: what a killed writer left behind.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/directory_lock.h"
#include "base/result.h"

namespace fathom {

class AtomicDirectory {
 public:
  // Creates the parent if needed.
  static Result<AtomicDirectory> begin(const std::string& target);
  AtomicDirectory(AtomicDirectory&& other) noexcept;
  AtomicDirectory& operator=(AtomicDirectory&& other) = delete;
  ~AtomicDirectory();  // without commit(): removes the temporary

  // Where to write. Files may be put there by any means.
  const std::string& path() const { return temporary_; }
  // Writes one file; `name` may have folders in it ("optimizer/state.json").
  Status write_file(const std::string& name, std::string_view content);
  // Once. On an error the target is as it was before, unless the message says that only the flush of the
  // parent or the removal of the old content failed: then the new content is already visible.
  Status commit();

 private:
  AtomicDirectory(std::string target, std::string temporary, std::optional<DirectoryLock> lock)
      : target_(std::move(target)), temporary_(std::move(temporary)), lock_(std::move(lock)) {}
  std::string target_, temporary_;
  std::optional<DirectoryLock> lock_;
};

// Removes temporaries of `target` whose writers are dead. begin() does it; a program that only reads may too.
Status remove_dead_temporaries(const std::string& target);

// Removes a directory that must never be seen in part: it takes the name of a temporary first.
Status remove_directory_atomically(const std::string& target);

}  // namespace fathom
