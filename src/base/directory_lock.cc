#include "base/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/file.h"

namespace fathom {

namespace {

// 0, or the errno of flock(), whose EWOULDBLOCK says that the lock is taken.
int lock(int fd, const std::string& directory) {
  if (const int fault = injected_fault(FileOp::kLock, directory)) return fault;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

bool is_still_named(int fd, const std::string& directory) {
  struct stat locked, named;
  return ::fstat(fd, &locked) == 0 && ::stat(directory.c_str(), &named) == 0 &&
         locked.st_ino == named.st_ino && locked.st_dev == named.st_dev;
}

}  // namespace

Result<DirectoryLock> DirectoryLock::acquire(const std::string& directory, double patience) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return not_found(directory + ": cannot open: " + std::strerror(errno));
  DirectoryLock held(fd);
  SteadyClock clock;
  const double begin = clock.seconds();
  int code = lock(fd, directory);
  while (code == EWOULDBLOCK && clock.seconds() - begin < patience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    code = lock(fd, directory);
  }
  if (code == EWOULDBLOCK) return invalid(directory + ": another process holds its lock");
  if (code != 0) return not_supported(directory + ": cannot be locked: " + std::strerror(code));
  // Whoever held the lock before may have removed or replaced the directory.
  if (!is_still_named(fd, directory)) return not_found(directory + ": was removed meanwhile");
  return held;
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DirectoryLock& DirectoryLock::operator=(DirectoryLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace fathom
