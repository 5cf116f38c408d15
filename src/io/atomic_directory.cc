#include "io/atomic_directory.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/file.h"

namespace fathom {

namespace {

namespace fs = std::filesystem;

std::string without_trailing_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Flushes everything below `directory`, whoever wrote it, in order of names, and the directory itself last.
Status flush_tree(const std::string& directory) {
  std::error_code code;
  std::vector<fs::path> files, folders = {directory};
  for (fs::recursive_directory_iterator entry(directory, code), end; !code && entry != end;
       entry.increment(code)) {
    if (entry->is_directory(code)) {
      folders.push_back(entry->path());
    } else if (entry->is_regular_file(code)) {
      files.push_back(entry->path());
    } else {
      return invalid(entry->path().string() + ": neither a file nor a folder; cannot be made durable");
    }
  }
  if (code) return io_error(directory + ": cannot list: " + code.message());
  std::sort(files.begin(), files.end());
  for (const fs::path& path : files) {
    FATHOM_ASSIGN(OutputFile file, OutputFile::append(path.string()));
    FATHOM_TRY(file.sync());
    FATHOM_TRY(file.close());
  }
  std::sort(folders.begin(), folders.end());
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    FATHOM_TRY(sync_directory(folder->string()));
  }
  return {};
}

}  // namespace

Status remove_dead_temporaries(const std::string& target) {
  const std::string clean = without_trailing_slash(target);
  const std::string prefix = fs::path(clean).filename().string() + ".tmp-";
  std::error_code code;
  std::vector<std::string> found;
  for (fs::directory_iterator entry(parent_of(clean), code), end; !code && entry != end;
       entry.increment(code)) {
    const bool is_folder = entry->symlink_status().type() == fs::file_type::directory;
    if (is_folder && entry->path().filename().string().starts_with(prefix)) {
      found.push_back(entry->path().string());
    }
  }
  if (code == std::errc::no_such_file_or_directory) return {};
  if (code) return io_error(parent_of(clean) + ": cannot list: " + code.message());
  for (const std::string& temporary : found) {
    const Result<DirectoryLock> lock = DirectoryLock::acquire(temporary);
    if (lock.ok()) FATHOM_TRY(remove_tree(temporary));
  }
  return {};
}

namespace {

std::string temporary_name(const std::string& target) {
  static std::atomic<int> counter{0};
  return target + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
}

}  // namespace

Status remove_directory_atomically(const std::string& target) {
  const std::string temporary = temporary_name(without_trailing_slash(target));
  FATHOM_TRY(rename_path(target, temporary));
  return remove_tree(temporary);
}

Result<AtomicDirectory> AtomicDirectory::begin(const std::string& target) {
  const std::string clean = without_trailing_slash(target);
  if (clean.empty()) return invalid("a directory needs a name");
  std::error_code code;
  if (fs::exists(clean, code) && !fs::is_directory(clean, code))
    return invalid(clean + ": is not a directory");
  FATHOM_TRY(make_directories(parent_of(clean)));
  FATHOM_TRY(remove_dead_temporaries(clean));
  // A name is lost only to a process that took it for a dead one; a handful of tries is more than enough.
  for (int attempt = 0; attempt < 16; ++attempt) {
    const std::string temporary = temporary_name(clean);
    if (fs::exists(temporary, code)) continue;
    FATHOM_TRY(make_directories(temporary, clean));
    Result<DirectoryLock> lock = DirectoryLock::acquire(temporary);
    if (lock.ok()) return AtomicDirectory(clean, temporary, std::move(lock).value());
    // Without locks nobody takes the temporary for a dead writer's either.
    if (lock.error().kind == ErrorKind::kNotSupported) return AtomicDirectory(clean, temporary, std::nullopt);
  }
  return io_error(clean + ": cannot lock a temporary directory beside it");
}

AtomicDirectory::AtomicDirectory(AtomicDirectory&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      lock_(std::move(other.lock_)) {}

AtomicDirectory::~AtomicDirectory() {
  // Nothing can be reported from here; what remains is removed by the next begin().
  if (!temporary_.empty()) static_cast<void>(remove_tree(temporary_));
}

Status AtomicDirectory::write_file(const std::string& name, std::string_view content) {
  const fs::path relative(name);
  for (const fs::path& part : relative) {
    if (part == "..") return invalid("\"" + name + "\" leads out of the directory");
  }
  if (name.empty() || relative.is_absolute())
    return invalid("\"" + name + "\" is not a name in the directory");
  const std::string path = (fs::path(temporary_) / relative).string();
  if (relative.has_parent_path()) FATHOM_TRY(make_directories(parent_of(path)));
  FATHOM_ASSIGN(OutputFile file, OutputFile::create(path));
  FATHOM_TRY(file.write(content));
  return file.close();  // commit() flushes
}

Status AtomicDirectory::commit() {
  FATHOM_CHECK(!temporary_.empty(), target_ + " was committed before");
  FATHOM_TRY(flush_tree(temporary_));
  std::error_code code;
  const bool replaces = fs::exists(target_, code);
  if (replaces) {
    FATHOM_TRY(exchange_paths(temporary_, target_));
  } else {
    FATHOM_TRY(rename_path(temporary_, target_));
  }
  // From here on the temporary's name stands for the old content, or for nothing.
  const std::string old = std::exchange(temporary_, {});
  Status flushed = sync_directory(parent_of(target_));
  if (!flushed.ok()) return at(target_ + " is in place, but", std::move(flushed).error());
  if (!replaces) return {};
  Status removed = remove_tree(old);
  if (!removed.ok()) return at(target_ + " is in place, but", std::move(removed).error());
  return {};
}

}  // namespace fathom
