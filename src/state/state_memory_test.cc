#include "state/state_memory.h"

#include <gtest/gtest.h>

#include "base/check.h"

namespace fathom {
namespace {

TEST(StateMemory, GivesOutWhatTheBudgetAllows) {
  StateMemory memory(1000);
  PageRef a = memory.take(600), b = memory.take(400);
  ASSERT_TRUE(a && b);
  EXPECT_FALSE(memory.take(1));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 64, 0U);
  EXPECT_EQ(memory.room(), 0);
  b = {};
  EXPECT_EQ(memory.used(), 600);
  EXPECT_TRUE(memory.take(400));
  EXPECT_EQ(memory.most_used(), 1000);
}

TEST(StateMemory, APageGoesBackWithItsLastHolder) {
  StateMemory memory(100);
  PageRef first = memory.take(100);
  EXPECT_FALSE(first.shared());
  PageRef second = first;
  EXPECT_TRUE(first.shared());
  EXPECT_EQ(first.data(), second.data());
  first = {};
  EXPECT_FALSE(second.shared());
  EXPECT_EQ(memory.used(), 100);
  PageRef third = std::move(second);
  EXPECT_FALSE(third.shared());
  third = {};
  EXPECT_EQ(memory.used(), 0);
}

TEST(StateMemory, WhatCameBackServesItsSizeAndMakesWayForOthers) {
  StateMemory memory(256);
  PageRef page = memory.take(128);
  const uint8_t* const place = page.data();
  page = {};
  page = memory.take(128);
  EXPECT_EQ(page.data(), place);
  page = {};
  EXPECT_TRUE(memory.take(256));  // only fits once the other has gone back to the system
  EXPECT_TRUE(memory.take(128));
}

TEST(StateMemory, AtOnceIsOnePiece) {
  const std::shared_ptr<StateMemory> memory = StateMemory::at_once(300, 3);
  const PageRef a = memory->take(100), b = memory->take(100), c = memory->take(100);
  EXPECT_EQ(b.data() - a.data(), 128);
  EXPECT_EQ(c.data() - b.data(), 128);
  EXPECT_FALSE(memory->take(1));
}

}  // namespace
}  // namespace fathom
