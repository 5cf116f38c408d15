#include "train/array_arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "base/random.h"

namespace fathom::train {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(ArrayArena, ArraysAreAlignedAndTheirOwn) {
  ArrayArena arena;
  std::vector<std::pair<uint8_t*, size_t>> arrays;
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{63}, kMiB - 1, kMiB, kMiB + 1, 5 * kMiB + 12345}) {
    auto* array = static_cast<uint8_t*>(arena.take(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(array) % ArrayArena::kAlignment, 0U);
    std::memset(array, static_cast<int>(arrays.size() + 1), bytes);
    arrays.emplace_back(array, bytes);
  }
  for (size_t i = 0; i < arrays.size(); ++i) {
    for (size_t b = 0; b < arrays[i].second; b += 997) ASSERT_EQ(arrays[i].first[b], i + 1);
    arena.give(arrays[i].first);
  }
  arena.give(nullptr);
  EXPECT_EQ(arena.figures().in_use, 0U);
}

TEST(ArrayArena, GapsAreSplitAndJoined) {
  ArrayArena arena;
  auto* first = static_cast<uint8_t*>(arena.take(10 * kMiB));
  void* second = arena.take(kMiB);
  arena.give(first);
  EXPECT_EQ(arena.take(4 * kMiB), first);
  EXPECT_EQ(arena.take(6 * kMiB), first + 4 * kMiB);
  arena.give(first + 4 * kMiB);
  arena.give(first);
  EXPECT_EQ(arena.take(10 * kMiB), first);
  arena.give(second);
  EXPECT_EQ(arena.take(20 * kMiB), second);
  arena.give(first);
  arena.give(second);
  EXPECT_EQ(arena.take(30 * kMiB), first);
  arena.give(first);
  EXPECT_EQ(arena.figures().in_use, 0U);
}

TEST(ArrayArena, PagesOfAGapThatDoesNotServeGoBack) {
  ArrayArena arena;
  void* first = arena.take(64 * kMiB);
  void* between = arena.take(kMiB);
  arena.give(first);
  EXPECT_GE(arena.figures().held, 65 * kMiB);
  void* wider = arena.take(70 * kMiB);
  EXPECT_NE(wider, first);
  EXPECT_LE(arena.figures().held, 71 * kMiB + 71 * kMiB / 16);
  EXPECT_EQ(arena.take(64 * kMiB), first);
  arena.give(first);
  arena.give(between);
  arena.give(wider);
}

TEST(ArrayArena, HoldsNoUnusedPageBeyondASixteenthMoreThanWasEverInUse) {
  ArrayArena arena;
  RandomStream random(7, 0);
  struct Taken {
    uint8_t* array;
    size_t bytes;
    uint8_t mark;
  };
  std::vector<Taken> arrays;
  for (int i = 0; i < 4000; ++i) {
    if (arrays.size() < 40 && random.next_uniform() < 0.55F) {
      const size_t bytes =
          ArrayArena::kLeast + static_cast<size_t>(random.next_uniform() * 30.0F * static_cast<float>(kMiB));
      auto* array = static_cast<uint8_t*>(arena.take(bytes));
      arrays.push_back({array, bytes, static_cast<uint8_t>(i)});
      for (size_t at = 0; at < bytes; at += 4096) array[at] = static_cast<uint8_t>(i);
    } else if (!arrays.empty()) {
      const auto at = static_cast<size_t>(random.next_uniform() * static_cast<float>(arrays.size()));
      std::swap(arrays[std::min(at, arrays.size() - 1)], arrays.back());
      const Taken& last = arrays.back();
      for (size_t b = 0; b < last.bytes; b += 4096) ASSERT_EQ(last.array[b], last.mark);
      arena.give(last.array);
      arrays.pop_back();
    }
    const ArrayArena::Figures figures = arena.figures();
    // Pages that cannot go are those in which arrays begin and end.
    const size_t in_arrays = figures.in_use + 2 * ArrayArena::kPage * arrays.size();
    ASSERT_LE(figures.held, std::max(figures.most_in_use + figures.most_in_use / 16, in_arrays));
    ASSERT_GE(figures.held, figures.in_use);
  }
  for (const Taken& taken : arrays) arena.give(taken.array);
  EXPECT_EQ(arena.figures().in_use, 0U);
}

TEST(ArrayArena, MoreThanThereIsThrows) {
  ArrayArena arena;
  EXPECT_THROW(arena.take(~size_t{0}), std::bad_alloc);
  EXPECT_THROW(arena.take(size_t{1} << 47), std::bad_alloc);
  EXPECT_EQ(arena.figures().held, 0U);
}

TEST(ArrayArena, ThreadsMayShareIt) {
  ArrayArena arena;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&arena, t] {
      for (size_t i = 0; i < 200; ++i) {
        auto* array = static_cast<uint8_t*>(arena.take(kMiB + i % 7 * kMiB));
        array[0] = static_cast<uint8_t>(t);
        array[kMiB - 1] = static_cast<uint8_t>(t);
        EXPECT_EQ(array[0], t);
        arena.give(array);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(arena.figures().in_use, 0U);
}

}  // namespace
}  // namespace fathom::train
