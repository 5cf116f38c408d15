#include "train/torch_parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/machine_limits.h"

namespace fathom::train {
namespace {

TEST(TorchParallel, CoversEveryElementOnceInWholeGrains) {
  for (int threads : {1, 2, 5}) {
    set_threads(threads);
    ASSERT_EQ(torch_parallel().num_threads(), threads);
    for (int64_t count : {0, 1, 7, 64, 1000}) {
      for (int64_t grain : {1, 8, 2000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
        std::atomic<int> wrong = 0;
        torch_parallel().run(count, grain, [&](int64_t begin, int64_t end, int worker) {
          if (begin % grain != 0 || (end % grain != 0 && end != count)) ++wrong;
          if (worker < 0 || worker >= threads) ++wrong;
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        EXPECT_EQ(wrong, 0);
        EXPECT_TRUE(std::ranges::all_of(seen, [](const std::atomic<int>& times) { return times == 1; }))
            << count << " elements, grain " << grain << ", " << threads << " threads";
      }
    }
  }
}

// Compiled without OpenMP, at::parallel_for would run everything on the calling thread and no result would
// tell.
TEST(TorchParallel, UsesAllThreadsAndNumbersThemApart) {
  constexpr int kThreads = 3;
  set_threads(kThreads);
  std::vector<std::thread::id> thread_of(kThreads);
  std::atomic<int> arrived = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  torch_parallel().run(kThreads, 1, [&](int64_t, int64_t, int worker) {
    thread_of[static_cast<size_t>(worker)] = std::this_thread::get_id();
    ++arrived;  // and nobody comes for a second part before all have one
    while (arrived < kThreads && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, kThreads);
  EXPECT_EQ(std::set(thread_of.begin(), thread_of.end()).size(), size_t{kThreads});
}

TEST(TorchParallel, WhoIsDoneEarlyTakesMore) {
  constexpr int64_t kCount = 64;
  set_threads(2);
  std::atomic<int64_t> done = 0;
  int64_t slow = 0;  // elements of the worker that waits for all others
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  torch_parallel().run(kCount, 1, [&](int64_t begin, int64_t end, int) {
    if (begin > 0) {
      done += end - begin;
      return;
    }
    slow = end;
    while (done < kCount - end && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  });
  EXPECT_EQ(done, kCount - slow);
  EXPECT_LE(slow, kCount / 4);
}

TEST(TorchParallel, TakesNoMoreCoresThanThereAre) {
  set_threads(available_cores() + 3);
  set_threads(0);
  EXPECT_EQ(torch_parallel().num_threads(), available_cores());
}

// Two copies of libgomp would be two pools that fight for the cores.
TEST(TorchParallel, OneOpenMpLibraryIsLoaded) {
  set_threads(2);
  torch_parallel().run(2, 1, [](int64_t, int64_t, int) {});
  std::ifstream maps("/proc/self/maps");
  ASSERT_TRUE(maps.is_open());
  std::set<std::string> libraries;
  for (std::string line; std::getline(maps, line);) {
    const size_t path = line.find('/');
    if (path != std::string::npos && line.find("libgomp") != std::string::npos)
      libraries.insert(line.substr(path));
    EXPECT_EQ(line.find("libomp"), std::string::npos) << line;
    EXPECT_EQ(line.find("libiomp"), std::string::npos) << line;
  }
  EXPECT_EQ(libraries.size(), 1U);
}

}  // namespace
}  // namespace fathom::train
