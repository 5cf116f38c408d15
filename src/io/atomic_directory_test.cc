// A directory is seen old or new, never in between, whichever operation fails and whenever the writer dies.
#include "io/atomic_directory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>

#include "base/file.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Files = std::map<std::string, std::string>;

const Files kOld = {{"config.json", "old"}, {"only-old", "x"}};
const Files kNew = {{"config.json", "new"}, {"sub/deep/state", "yy"}, {"weights", "zzz"}};

Files content_of(const std::string& directory) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) {
      files[fs::relative(entry.path(), directory).string()] = *read_file(entry.path().string());
    }
  }
  return files;
}

Status write(const std::string& target, const Files& files) {
  FATHOM_ASSIGN(AtomicDirectory directory, AtomicDirectory::begin(target));
  for (const auto& [name, text] : files) FATHOM_TRY(directory.write_file(name, text));
  return directory.commit();
}

class AtomicDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-atomic-" + std::to_string(::getpid()))).string();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    target_ = folder_ + "/model";
  }
  void TearDown() override {
    set_file_fault({});
    fs::remove_all(folder_);
  }
  int64_t entries() const { return std::distance(fs::directory_iterator(folder_), {}); }

  // One run with a fault at each operation in turn, until a run meets none. `dies`: every later operation
  // fails too, as after a crash. Returns the number of runs that failed.
  int fail_everywhere(bool replaces, bool dies) {
    for (int fail_at = 0;; ++fail_at) {
      fs::remove_all(folder_);
      fs::create_directories(folder_);
      if (replaces) {
        EXPECT_TRUE(write(target_, kOld).ok());
      }
      int seen = 0;
      set_file_fault([&](FileOp, const std::string&) {
        const bool fails = dies ? seen >= fail_at : seen == fail_at;
        ++seen;
        return fails ? EIO : 0;
      });
      const Status status = write(target_, kNew);
      set_file_fault({});
      // The clean-up of a dropped temporary may be what failed: then nothing was reported, and all is well.
      const bool untouched = seen <= fail_at;
      if (status.ok() && untouched) return fail_at;

      const bool in_place = status.ok() || status.error().message.starts_with(target_ + " is in place, but");
      if (in_place) {
        EXPECT_EQ(content_of(target_), kNew) << fail_at;
      } else if (replaces) {
        EXPECT_EQ(content_of(target_), kOld) << fail_at;
      } else {
        EXPECT_FALSE(fs::exists(target_)) << fail_at;
      }
      // Whatever is left over, the next writer cleans up and succeeds.
      EXPECT_TRUE(write(target_, kNew).ok()) << fail_at;
      EXPECT_EQ(content_of(target_), kNew) << fail_at;
      EXPECT_EQ(entries(), 1) << "a temporary is left, " << fail_at;
    }
  }

  std::string folder_, target_;
};

TEST_F(AtomicDirectoryTest, OneFaultNeverShowsHalfADirectory) {
  // parent, temporary, two sub-folders, three files of open + write, their flushes, folders, rename, parent.
  EXPECT_GE(fail_everywhere(false, false), 15);
  EXPECT_GE(fail_everywhere(true, false), 16);
}

TEST_F(AtomicDirectoryTest, ACrashNeverShowsHalfADirectory) {
  EXPECT_GE(fail_everywhere(false, true), 15);
  EXPECT_GE(fail_everywhere(true, true), 16);
}

TEST_F(AtomicDirectoryTest, EveryFileAndFolderIsFlushedBeforeTheRename) {
  std::map<std::string, int> flushed;
  bool renamed = false, parent_after = false;
  set_file_fault([&](FileOp op, const std::string& path) {
    if (op == FileOp::kFsync) {
      if (path == folder_) parent_after = renamed;
      if (!renamed && path.starts_with(target_ + ".tmp-")) {
        ++flushed[path.substr(std::min(path.size(), path.find('/', target_.size())))];
      }
    }
    if (op == FileOp::kRename) renamed = true;
    return 0;
  });
  ASSERT_TRUE(write(target_, kNew).ok());
  for (const char* name : {"", "/config.json", "/sub", "/sub/deep", "/sub/deep/state", "/weights"}) {
    EXPECT_EQ(flushed[name], 1) << name;
  }
  EXPECT_TRUE(parent_after);
}

TEST_F(AtomicDirectoryTest, DroppedWithoutCommitNothingRemains) {
  {
    auto directory = AtomicDirectory::begin(target_);
    ASSERT_TRUE(directory.ok());
    ASSERT_TRUE(directory->write_file("a", "1").ok());
    EXPECT_EQ(entries(), 1);
  }
  EXPECT_EQ(entries(), 0);
}

TEST_F(AtomicDirectoryTest, ALivingWritersTemporaryIsLeftAlone) {
  auto first = AtomicDirectory::begin(target_);
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(first->write_file("config.json", "first").ok());
  ASSERT_TRUE(write(target_, kNew).ok());
  EXPECT_TRUE(fs::exists(first->path() + "/config.json"));
  ASSERT_TRUE(first->commit().ok());
  EXPECT_EQ(content_of(target_), (Files{{"config.json", "first"}}));
  EXPECT_EQ(entries(), 1);
}

TEST_F(AtomicDirectoryTest, AKilledWritersTemporaryIsRemovedByTheNext) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto directory = AtomicDirectory::begin(target_);
    const bool written = directory.ok() && directory->write_file("config.json", "partial").ok();
    ::_exit(written ? 0 : 1);  // no destructor runs, as after a kill
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(entries(), 1);
  EXPECT_FALSE(fs::exists(target_));
  ASSERT_TRUE(remove_dead_temporaries(target_).ok());
  EXPECT_EQ(entries(), 0);
}

TEST_F(AtomicDirectoryTest, WithoutLocksItIsStillAtomicAndLeavesOtherTemporariesAlone) {
  fs::create_directories(target_ + ".tmp-1-1");
  set_file_fault([](FileOp op, const std::string&) { return op == FileOp::kLock ? ENOLCK : 0; });
  EXPECT_TRUE(write(target_, kNew).ok());
  EXPECT_EQ(content_of(target_), kNew);
  EXPECT_EQ(entries(), 2);
}

TEST_F(AtomicDirectoryTest, ARemovedDirectoryIsNeverSeenInPart) {
  for (int fail_at = 0;; ++fail_at) {
    ASSERT_TRUE(write(target_, kNew).ok());
    int seen = 0;
    set_file_fault([&](FileOp, const std::string&) { return seen++ >= fail_at ? EIO : 0; });
    const Status removed = remove_directory_atomically(target_);
    set_file_fault({});
    if (fs::exists(target_)) {
      EXPECT_EQ(content_of(target_), kNew) << fail_at;
    }
    ASSERT_TRUE(remove_dead_temporaries(target_).ok());
    EXPECT_EQ(entries(), fs::exists(target_) ? 1 : 0) << fail_at;
    if (removed.ok()) {
      EXPECT_GE(fail_at, 7);  // rename, three files, two folders, the directory
      break;
    }
  }
  EXPECT_FALSE(fs::exists(target_));
}

TEST_F(AtomicDirectoryTest, OtherNamesAreNotTouched) {
  fs::create_directories(target_ + "2.tmp-1-1");
  fs::create_directories(folder_ + "/mode.tmp-1-1");
  ASSERT_TRUE(write(target_ + "/", kNew).ok());  // a trailing slash names the same directory
  EXPECT_EQ(content_of(target_), kNew);
  EXPECT_EQ(entries(), 3);
}

TEST_F(AtomicDirectoryTest, NamesThatLeadOutAreRefused) {
  auto directory = AtomicDirectory::begin(target_);
  ASSERT_TRUE(directory.ok());
  EXPECT_EQ(directory->write_file("../x", "").error().message, "\"../x\" leads out of the directory");
  EXPECT_EQ(directory->write_file("a/../../x", "").error().message,
            "\"a/../../x\" leads out of the directory");
  EXPECT_EQ(directory->write_file("/x", "").error().message, "\"/x\" is not a name in the directory");
  ASSERT_TRUE(write_file_atomic(folder_ + "/file", "").ok());
  EXPECT_EQ(AtomicDirectory::begin(folder_ + "/file").error().message, folder_ + "/file: is not a directory");
  EXPECT_EQ(AtomicDirectory::begin("/proc/model").error().message,
            "/proc/model: cannot create directory: No such file or directory");
}

}  // namespace
}  // namespace fathom
