#include "train/block_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "base/random.h"

namespace fathom::train {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(BlockPool, ArraysAreAlignedAndTheirOwn) {
  BlockPool pool;
  std::vector<std::pair<uint8_t*, size_t>> arrays;
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{63}, kMiB - 1, kMiB, kMiB + 1, 5 * kMiB + 12345}) {
    auto* array = static_cast<uint8_t*>(pool.take(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(array) % BlockPool::kAlignment, 0U);
    std::memset(array, static_cast<int>(arrays.size() + 1), bytes);
    arrays.emplace_back(array, bytes);
  }
  for (size_t i = 0; i < arrays.size(); ++i) {
    for (size_t b = 0; b < arrays[i].second; b += 997) ASSERT_EQ(arrays[i].first[b], i + 1);
    pool.give(arrays[i].first);
  }
  pool.give(nullptr);
  EXPECT_EQ(pool.figures().in_use, 0U);
}

TEST(BlockPool, WhatWasGivenBackServesTheNextOfItsSize) {
  BlockPool pool;
  void* first = pool.take(10 * kMiB);
  pool.give(first);
  EXPECT_EQ(pool.take(10 * kMiB - 5000), first);
  void* smaller = pool.take(6 * kMiB);  // nothing is split
  EXPECT_NE(smaller, first);
  pool.give(first);
  pool.give(smaller);
}

TEST(BlockPool, HoldsASixteenthMoreThanWasEverInUse) {
  BlockPool pool;
  RandomStream random(7, 0);
  std::vector<void*> arrays;
  for (int i = 0; i < 4000; ++i) {
    if (arrays.size() < 40 && random.next_uniform() < 0.55F) {
      arrays.push_back(
          pool.take(static_cast<size_t>(random.next_uniform() * 30.0F * static_cast<float>(kMiB))));
    } else if (!arrays.empty()) {
      const auto at = static_cast<size_t>(random.next_uniform() * static_cast<float>(arrays.size()));
      std::swap(arrays[std::min(at, arrays.size() - 1)], arrays.back());
      pool.give(arrays.back());
      arrays.pop_back();
    }
    const BlockPool::Figures figures = pool.figures();
    ASSERT_LE(figures.held, figures.most_in_use + figures.most_in_use / 16);
    ASSERT_GE(figures.held, figures.in_use);
  }
  for (void* array : arrays) pool.give(array);
  EXPECT_EQ(pool.figures().in_use, 0U);
}

TEST(BlockPool, MoreThanThereIsThrows) {
  BlockPool pool;
  EXPECT_THROW(pool.take(~size_t{0}), std::bad_alloc);
  EXPECT_THROW(pool.take(size_t{1} << 47), std::bad_alloc);
  EXPECT_EQ(pool.figures().held, 0U);
}

TEST(BlockPool, ThreadsMayShareIt) {
  BlockPool pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (size_t i = 0; i < 200; ++i) {
        auto* array = static_cast<uint8_t*>(pool.take(kMiB + i % 7 * kMiB));
        array[0] = static_cast<uint8_t>(t);
        array[kMiB - 1] = static_cast<uint8_t>(t);
        EXPECT_EQ(array[0], t);
        pool.give(array);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.figures().in_use, 0U);
}

}  // namespace
}  // namespace fathom::train
