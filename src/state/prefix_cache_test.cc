#include "state/prefix_cache.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/check.h"

namespace fathom {
namespace {

// A full cache of keys, a ring and a recurrence, in one memory.
struct Bench {
  explicit Bench(int64_t budget = int64_t{1} << 20, int64_t most = int64_t{1} << 20)
      : memory(std::make_shared<StateMemory>(budget)), cache(most) {
    Slot full, ring, ssm;
    full.kind = SlotKind::kKv;
    ring.kind = SlotKind::kWindowKv;
    full.num_kv_heads = ring.num_kv_heads = 1;
    full.head_dim = ring.head_dim = 8;
    ring.window = 10;
    ssm.kind = SlotKind::kSsmState;
    ssm.inner = 4, ssm.state = 4, ssm.conv = 4, ssm.channels = 4;
    plan.slots = {full, ring, ssm};
  }
  SequenceState start() { return SequenceState(plan, 1000, 4, DType::kF32, memory); }
  // Reads tokens on; an entry's first value is its token.
  static void read(SequenceState& state, std::span<const int32_t> tokens) {
    for (const int32_t token : tokens) {
      ASSERT_TRUE(state.reserve(1));
      std::vector<float> entry(8, static_cast<float>(token));
      state.kv(0, 0).append(entry.data(), entry.data(), 1);
      state.kv(1, 0).append(entry.data(), entry.data(), 1);
      state.ssm(2, 0).ssm()[0] += static_cast<float>(token);
      state.advance(1);
    }
  }
  static void expect_read(const SequenceState& state, std::span<const int32_t> tokens) {
    ASSERT_EQ(state.position(), static_cast<int64_t>(tokens.size()));
    std::vector<float> k(8), v(8);
    for (size_t i = 0; i < tokens.size(); ++i) {
      state.kv(0, 0).read(static_cast<int64_t>(i), k.data(), v.data());
      EXPECT_EQ(k[0], static_cast<float>(tokens[i])) << i;
    }
    EXPECT_EQ(state.ssm(2, 0).values()[12], std::accumulate(tokens.begin(), tokens.end(), 0.0F));
  }
  // Reads all of it from the start, and keeps it.
  void keep(const std::vector<int32_t>& tokens, uint64_t rule = 0) {
    SequenceState state = start();
    read(state, tokens);
    cache.keep(tokens, rule, state);
  }

  ModelPlan plan;
  std::shared_ptr<StateMemory> memory;
  PrefixCache cache;
};

std::vector<int32_t> counted(int32_t from, int32_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

TEST(PrefixCache, FindsTheLongestBeginningThatIsNotAll) {
  Bench bench;
  const std::vector<int32_t> text = counted(1, 200);
  for (const int32_t length : {64, 100, 150}) bench.keep(counted(1, length));
  const std::span<const int32_t> all = text;
  Bench::expect_read(*bench.cache.find(all, 0), all.first(150));
  Bench::expect_read(*bench.cache.find(all.first(150), 0), all.first(100));
  Bench::expect_read(*bench.cache.find(all.first(101), 0), all.first(100));
  EXPECT_FALSE(bench.cache.find(all.first(64), 0).has_value());
  EXPECT_FALSE(bench.cache.find({}, 0).has_value());
  std::vector<int32_t> other = text;
  other[70] = 7;
  Bench::expect_read(*bench.cache.find(other, 0), all.first(64));
}

TEST(PrefixCache, RulesAreApart) {
  Bench bench;
  bench.keep(counted(1, 70), 3);
  EXPECT_FALSE(bench.cache.find(counted(1, 80), 0).has_value());
  EXPECT_TRUE(bench.cache.find(counted(1, 80), 3).has_value());
}

TEST(PrefixCache, WhatIsFoundGoesItsOwnWay) {
  Bench bench;
  bench.keep(counted(1, 100));
  std::optional<SequenceState> one = bench.cache.find(counted(1, 101), 0),
                               two = bench.cache.find(counted(1, 101), 0);
  Bench::read(*one, counted(500, 40));
  Bench::read(*two, counted(101, 40));
  Bench::expect_read(*two, counted(1, 140));
  std::vector<int32_t> expected = counted(1, 100);
  for (const int32_t token : counted(500, 40)) expected.push_back(token);
  Bench::expect_read(*one, expected);
  Bench::expect_read(*bench.cache.find(counted(1, 101), 0), counted(1, 100));
}

TEST(PrefixCache, SharedPagesCountOnceAndTheLeastUsedGoesFirst) {
  constexpr int64_t kPage = 2 * 64 * 8 * 4, kSsm = (12 + 16) * 4;
  Bench bench(1 << 20, 9 * kPage + 3 * kSsm);
  SequenceState state = bench.start();
  const std::vector<int32_t> text = counted(1, 200);
  for (const size_t length : {64U, 128U, 192U}) {
    Bench::read(state, std::span(text).subspan(static_cast<size_t>(state.position()),
                                               length - static_cast<size_t>(state.position())));
    bench.cache.keep(std::span(text).first(length), 0, state);
  }
  // Three pages of keys, which all share; of each entry a ring of two pages (one at first) and a recurrence.
  EXPECT_EQ(bench.cache.entries(), 3);
  EXPECT_LE(bench.cache.bytes(), 9 * kPage + 3 * kSsm);
  ASSERT_TRUE(bench.cache.find(std::span(text).first(100), 0));  // the first has been used last
  bench.keep(counted(1000, 64));
  EXPECT_EQ(bench.cache.entries(), 3);
  EXPECT_TRUE(bench.cache.find(std::span(text).first(100), 0));
  EXPECT_EQ(bench.cache.find(std::span(text).first(150), 0)->position(), 64);
  EXPECT_EQ(bench.cache.find(text, 0)->position(), 192);
  while (bench.cache.drop_one()) {
  }
  EXPECT_EQ(bench.cache.bytes(), 0);
  EXPECT_EQ(bench.memory->used(), state.bytes());
}

TEST(PrefixCache, WithoutMemoryNothingIsKeptOrFound) {
  constexpr int64_t kPage = 2 * 64 * 8 * 4, kSsm = (12 + 16) * 4;
  Bench bench(4 * kPage + 2 * kSsm);
  SequenceState state = bench.start();
  const std::vector<int32_t> text = counted(1, 30);
  Bench::read(state, text);
  bench.cache.keep(text, 0, state);
  EXPECT_EQ(bench.cache.entries(), 1);
  EXPECT_FALSE(bench.cache.find(counted(1, 31), 0).has_value());  // no room for the fork
  bench.cache.keep(std::span(text), 1, state);                    // nor for another entry
  EXPECT_EQ(bench.cache.entries(), 1);
  EXPECT_THROW(bench.cache.keep(counted(1, 5), 0, state), CheckFailure);
}

}  // namespace
}  // namespace fathom
