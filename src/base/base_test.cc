// Properties of the ground floor: conversions, random numbers, threads, checks.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "base/check.h"
#include "base/extents.h"
#include "base/half.h"
#include "base/isa.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/result.h"

namespace fathom {
namespace {

TEST(Half, EveryBfloat16SurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(BFloat16{static_cast<uint16_t>(bits)});
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(round_to_bfloat16(value)));
    } else {
      EXPECT_EQ(to_bfloat16(value).bits, bits);
    }
  }
}

TEST(Half, Bfloat16RoundsToNearestEven) {
  EXPECT_EQ(round_to_bfloat16(1.0F + 0x1p-8F), 1.0F);                // tie: down to even
  EXPECT_EQ(round_to_bfloat16(1.0F + 3 * 0x1p-8F), 1.0F + 0x1p-6F);  // tie: up to even
  EXPECT_EQ(round_to_bfloat16(1.0F + 0x1.01p-8F), 1.0F + 0x1p-7F);
}

TEST(Half, EveryFloat16SurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(Half{static_cast<uint16_t>(bits)});
    if (!std::isnan(value)) {
      EXPECT_EQ(to_half(value).bits, bits) << value;
    }
  }
  EXPECT_EQ(to_half(65520.0F).bits, 0x7c00);
  EXPECT_EQ(to_half(65519.0F).bits, 0x7bff);
}

TEST(Random, PhiloxMatchesThePublishedVectors) {
  // Random123's known-answer vectors for philox4x32-10.
  const std::array<uint32_t, 4> zero = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  EXPECT_EQ(philox(0, 0, 0), zero);
  const std::array<uint32_t, 4> ones = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  EXPECT_EQ(philox(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}), ones);
}

TEST(Random, NormalHasUnitVariance) {
  double sum = 0, squares = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = normal(1, 2, i);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.03);
  EXPECT_NEAR(squares / kDraws, 1, 0.05);
}

TEST(Random, NextBelowCoversItsRange) {
  RandomStream stream(7, 0);
  std::set<uint64_t> seen;
  for (int i = 0; i < 500; ++i) {
    const uint64_t draw = stream.next_below(10);
    ASSERT_LT(draw, 10U);
    seen.insert(draw);
  }
  EXPECT_EQ(seen.size(), 10U);
}

TEST(Parallel, CoversEveryIndexOnceForAnyThreadCount) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 5, 64, 1000, 4097}) {
      for (int64_t grain : {1, 16, 5000}) {
        std::vector<std::atomic<int>> hits(count);
        pool.run(count, grain, [&](int64_t begin, int64_t end, int worker) {
          ASSERT_LT(worker, threads);
          for (int64_t i = begin; i < end; ++i) ++hits[i];
        });
        for (auto& hit : hits) ASSERT_EQ(hit.load(), 1);
      }
    }
  }
}

TEST(Parallel, AnExceptionReachesTheCaller) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.run(100, 1, [](int64_t, int64_t, int) { FATHOM_CHECK(false, "wanted"); }), CheckFailure);
  std::atomic<int> after{0};
  pool.run(10, 1, [&](int64_t begin, int64_t end, int) { after += static_cast<int>(end - begin); });
  EXPECT_EQ(after.load(), 10);
}

TEST(Extents, OverflowIsSeen) {
  EXPECT_FALSE(checked_mul(uint64_t{1} << 63, 2));
  EXPECT_FALSE(checked_add(std::numeric_limits<uint64_t>::max(), 1));
  const int64_t huge[] = {int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_FALSE(checked_elements(huge));
  EXPECT_EQ(checked_elements({}), 1U);
}

TEST(Isa, ALevelCanBeForcedAndIsRestored) {
  const IsaLevel before = isa_level();
  for (IsaLevel level : supported_isa_levels()) {
    ScopedIsaLevel scoped(level);
    EXPECT_EQ(isa_level(), level);
  }
  EXPECT_EQ(isa_level(), before);
}

Result<int> half_of(int value) {
  if (value % 2 != 0) return invalid("odd");
  return value / 2;
}
Result<int> quarter_of(int value) {
  FATHOM_ASSIGN(const int half, half_of(value));
  return half_of(half);
}

TEST(Result, ErrorsTravelUp) {
  EXPECT_EQ(quarter_of(8).value(), 2);
  EXPECT_EQ(quarter_of(6).error().message, "odd");
  EXPECT_EQ(at("file", quarter_of(6).error()).message, "file: odd");
}

}  // namespace
}  // namespace fathom
