// A lock on a directory between processes: one holds it at a time, and it ends with that process, however the
// process ends. It leaves nothing in the directory, follows it when it is renamed, and keeps nobody from
// reading or writing there who does not ask for it.
#pragma once

#include <string>

#include "base/result.h"

namespace fathom {

class DirectoryLock {
 public:
  // Errors: kNotFound if the directory is not there (or was removed or replaced meanwhile); kInvalid if
  // somebody else holds the lock, still so after `patience` seconds; kNotSupported where the file system has
  // no such locks.
  static Result<DirectoryLock> acquire(const std::string& directory, double patience = 0);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&& other) noexcept;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace fathom
