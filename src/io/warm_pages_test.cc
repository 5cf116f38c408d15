#include "io/warm_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace fathom {
namespace {

namespace fs = std::filesystem;

// Kilobytes of the mapping of a file that this process has pages for.
int64_t mapped_kilobytes(const std::string& path) {
  std::ifstream smaps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find(path) != std::string::npos) here = true;
    if (here && line.starts_with("Rss:")) return std::stoll(line.substr(4));
  }
  return -1;
}

TEST(WarmPages, AreThereWhenTheThreadIsDoneAndNeedNotBe) {
  const std::string folder =
      (fs::temp_directory_path() / ("fathom-warm-" + std::to_string(::getpid()))).string();
  fs::create_directories(folder);
  const std::vector<float> values(int64_t{3} << 20, 1.5F);
  const auto size = static_cast<int64_t>(values.size());
  ASSERT_TRUE(write_weight_files(folder, {view_of("a", DType::kF32, {size}, values),
                                          view_of("b", DType::kF32, {size}, values)})
                  .ok());
  {
    Result<WeightFiles> opened = WeightFiles::open(folder);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    const auto files = std::make_shared<const WeightFiles>(std::move(opened).value());
    EXPECT_LT(mapped_kilobytes(folder), 1024);
    std::jthread thread = warm_pages(files);
    thread.join();
    // Kernels that cannot be asked leave it as it was.
    const auto at = reinterpret_cast<uintptr_t>(files->tensors().front().bytes().data()) / 4096 * 4096;
    const bool asked = ::madvise(reinterpret_cast<void*>(at), 4096, 22) == 0;
    EXPECT_TRUE(!asked || mapped_kilobytes(folder) >= 24 * 1024);
    std::jthread stopped = warm_pages(files);  // and its destructor ends it
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace fathom
