// A disk that is really full: a small file system in memory, mounted where only this process sees it.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "forked_run.h"
#include "run_directory.h"
#include "tiny_recipe.h"

namespace fathom::testing {
namespace {

namespace fs = std::filesystem;

class FullDisk : public ::testing::TestWithParam<std::string> {
 protected:
  FullDisk() : folder_(fs::temp_directory_path() / ("fathom-full-disk-" + std::to_string(::getpid()))) {}
  ~FullDisk() override {
    ::umount(disk().c_str());
    fs::remove_all(folder_);
  }
  fs::path disk() const { return folder_ / "disk"; }
  // 0 or an errno.
  int mount_disk(int64_t bytes, bool again = false) const {
    const std::string size = "size=" + std::to_string(bytes);
    const unsigned long flags = again ? MS_REMOUNT : 0;
    return ::mount("tmpfs", disk().c_str(), "tmpfs", flags, size.c_str()) == 0 ? 0 : errno;
  }
  static int64_t bytes_of(const fs::path& directory) {
    int64_t bytes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
    }
    return bytes;
  }

  fs::path folder_;
};

TEST_P(FullDisk, InTheMiddleOfACheckpointLosesNothing) {
  fs::create_directories(disk());
  // Mounts of a name space of our own vanish with us. EINVAL: the root of a chroot is no mount itself.
  if (::unshare(CLONE_NEWNS) != 0 ||
      (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 && errno != EINVAL)) {
    GTEST_SKIP() << "needs the right to mount a file system: " << std::strerror(errno);
  }
  const TinyRecipe recipe(folder_, GetParam(), "f32");
  ASSERT_EQ(run_forked(recipe.arguments(folder_ / "all", {"--train.keep=9"})).exit_code, 0);
  ASSERT_EQ(run_forked(recipe.arguments(folder_ / "whole")).exit_code, 0);
  // Room for all but one and a half checkpoints: two are kept while a third is written.
  const int64_t whole = bytes_of(folder_ / "whole"), one = bytes_of(folder_ / "all/checkpoint-4");
  if (const int code = mount_disk(whole + one / 2)) {
    GTEST_SKIP() << "needs the right to mount a file system: " << std::strerror(code);
  }
  const fs::path out = disk() / "run";
  const ForkedRun full = run_forked(recipe.arguments(out));
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_NE(full.text.find("cannot write: No space left on device; the last good checkpoint is " +
                           out.string() + "/checkpoint-4"),
            std::string::npos)
      << full.text;
  EXPECT_EQ(std::count(full.text.begin(), full.text.end(), '\n'), 1) << full.text;
  EXPECT_TRUE(fs::exists(out / "checkpoint-2") && fs::exists(out / "checkpoint-4"));
  EXPECT_FALSE(difference_of_checkpoints(out, folder_ / "all"));
  for (const auto& entry : fs::directory_iterator(out)) {
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
  }

  ASSERT_EQ(mount_disk(4 * whole, true), 0);
  const ForkedRun resumed = run_forked(recipe.arguments(out, {"--resume"}));
  EXPECT_EQ(resumed.exit_code, 0) << resumed.text;
  const auto difference = difference_of_runs(out, folder_ / "whole");
  EXPECT_FALSE(difference) << *difference;
}

INSTANTIATE_TEST_SUITE_P(Families, FullDisk, ::testing::ValuesIn(families()),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace fathom::testing
