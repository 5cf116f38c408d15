// What is read of /proc and of control groups, from folders that look like them.
#include "base/machine_limits.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>

namespace fathom {
namespace {

class MachineLimits : public ::testing::Test {
 protected:
  MachineLimits() {
    write("/proc/meminfo", "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    8000 kB\nCached: 1 kB\n");
  }
  ~MachineLimits() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::optional<int64_t> kibibytes() {
    const std::optional<int64_t> bytes = available_memory(root_);
    return bytes ? std::optional<int64_t>(*bytes >> 10) : std::nullopt;
  }
  static std::string bytes(int64_t kibibytes) { return std::to_string(kibibytes << 10) + "\n"; }
  static int cores_of_mask() {
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  }

  std::string root_ = ::testing::TempDir() + "fathom_machine_limits_" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(MachineLimits, WithoutGroupsAreThoseOfTheMachine) {
  EXPECT_EQ(kibibytes(), 8000);
  EXPECT_EQ(available_cores(root_), cores_of_mask());
  std::filesystem::remove(root_ + "/proc/meminfo");
  EXPECT_EQ(kibibytes(), std::nullopt);
}

TEST_F(MachineLimits, OfAGroupCountItsFilesAsFree) {
  write("/proc/self/cgroup", "0::/\n");
  const std::string group = "/sys/fs/cgroup/";
  write(group + "memory.max", bytes(1000));
  write(group + "memory.current", bytes(900));
  EXPECT_EQ(kibibytes(), 100);
  write(group + "memory.stat", "anon 5\ninactive_file " + bytes(300) + "active_file " + bytes(200));
  EXPECT_EQ(kibibytes(), 600);
  write(group + "memory.current", bytes(2000));
  write(group + "memory.stat", "");
  EXPECT_EQ(kibibytes(), 0);
  write(group + "memory.max", "max\n");
  EXPECT_EQ(kibibytes(), 8000);
}

TEST_F(MachineLimits, OfTheNarrowestGroupOnTheWayUpHold) {
  write("/proc/self/cgroup", "12:devices:/user\n0::/system.slice/fathom.service\n");
  const std::string slice = "/sys/fs/cgroup/system.slice/";
  write(slice + "memory.max", bytes(700));
  write(slice + "memory.current", bytes(100));
  write(slice + "fathom.service/memory.max", bytes(5000));
  write(slice + "fathom.service/memory.current", bytes(50));
  EXPECT_EQ(kibibytes(), 600);
  write(slice + "fathom.service/memory.max", bytes(450));
  EXPECT_EQ(kibibytes(), 400);
  write(slice + "cpu.max", "100000 100000\n");
  write(slice + "fathom.service/cpu.max", "max 100000\n");
  EXPECT_EQ(available_cores(root_), 1);
}

TEST_F(MachineLimits, OfTheFirstVersionAreReadByTheirOwnNames) {
  write("/proc/self/cgroup", "4:memory:/box\n3:cpu,cpuacct:/box\n0::/\n");
  const std::string memory = "/sys/fs/cgroup/memory/box/", cpu = "/sys/fs/cgroup/cpu/box/";
  write(memory + "memory.limit_in_bytes", bytes(1000));
  write(memory + "memory.usage_in_bytes", bytes(700));
  write(memory + "memory.stat",
        "inactive_file 1\ntotal_inactive_file " + bytes(100) + "total_active_file 0\n");
  EXPECT_EQ(kibibytes(), 400);
  write(cpu + "cpu.cfs_period_us", "100000\n");
  write(cpu + "cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(available_cores(root_), cores_of_mask());
  write(cpu + "cpu.cfs_quota_us", "50000\n");
  EXPECT_EQ(available_cores(root_), 1);
  // Inside a container, which sees its own group as the mount.
  std::filesystem::remove_all(root_ + "/sys/fs/cgroup/memory/box");
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", bytes(300));
  write("/sys/fs/cgroup/memory/memory.usage_in_bytes", bytes(0));
  EXPECT_EQ(kibibytes(), 300);
}

TEST_F(MachineLimits, ThatMakeNoSenseAreNone) {
  write("/proc/self/cgroup", "nonsense\n0::\n0::relative\n:::\n");
  write("/sys/fs/cgroup/memory.max", "12 apples, or 99999999999999999999\n");
  write("/sys/fs/cgroup/memory.current", "99999999999999999999\n");
  write("/sys/fs/cgroup/cpu.max", "100000 0\n");
  EXPECT_EQ(kibibytes(), 8000);
  EXPECT_EQ(available_cores(root_), cores_of_mask());
}

}  // namespace
}  // namespace fathom
