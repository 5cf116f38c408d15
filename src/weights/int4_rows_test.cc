#include "weights/int4_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/int4.h"
#include "base/random.h"

namespace fathom {
namespace {

struct Packed {
  Packed(const std::vector<float>& row, int64_t of_group)
      : group(of_group),
        q(static_cast<size_t>(int4::row_bytes(static_cast<int64_t>(row.size()))), 0xaa),
        words(static_cast<size_t>(int4::groups_of(static_cast<int64_t>(row.size()), group))),
        held(quantise_row_int4(row, group, q.data(), words.data())),
        values(row.size()) {
    if (held) read_row_int4(q.data(), words.data(), group, values);
  }
  int64_t group;
  std::vector<uint8_t> q;
  std::vector<uint16_t> words;
  bool held;
  std::vector<float> values;
};

std::vector<float> drawn(size_t count) {
  std::vector<float> row(count);
  for (size_t i = 0; i < count; ++i) row[i] = 0.02F * normal(1, 2, i);
  return row;
}

// Bits of scale and zero: every word is a finite scale, and a scale becomes the nearest one.
TEST(Int4Rows, EveryWordIsAScaleAndAZero) {
  for (uint32_t word = 0; word < 65536; ++word) {
    const auto bits = static_cast<uint16_t>(word);
    const float scale = int4::scale_of(bits);
    ASSERT_GE(scale, int4::kLeastScale);
    ASSERT_LE(scale, int4::kMostScale);
    ASSERT_EQ(int4::word_of(scale, int4::zero_of(bits)), bits);
    ASSERT_EQ(int4::word_of(scale * 1.001F, int4::zero_of(bits)), bits);
  }
  EXPECT_EQ(int4::scale_of(int4::word_of(0, 3)), int4::kLeastScale);
  EXPECT_EQ(int4::scale_of(int4::word_of(1e9F, 3)), int4::kMostScale);
}

// Each number of a row has half a byte of its own, and a row no byte more than its chunks need.
TEST(Int4Rows, PlacesAreAllDifferentAndInTheRow) {
  for (const int64_t group : int4::kGroups) {
    for (int64_t columns = 1; columns < 700; columns += 13) {
      std::vector<int> seen(static_cast<size_t>(2 * int4::row_bytes(columns)), 0);
      for (int64_t i = 0; i < columns; ++i) {
        const int4::Place place = int4::place_of(i, columns, group);
        ASSERT_LT(place.byte, int4::row_bytes(columns));
        ASSERT_EQ(seen[static_cast<size_t>(2 * place.byte + place.shift / 4)]++, 0) << i << " of " << columns;
      }
    }
  }
}

// The error is no larger than that of the whole range of each group cut into 15 steps with the nearest zero,
// and for normal numbers smaller by a known part.
TEST(Int4Rows, SmallerGroupsAndCutRangesErrLess) {
  const std::vector<float> row = drawn(4096);
  double before = 0;
  for (const int64_t group : {128, 64, 32}) {
    const Packed packed(row, group);
    ASSERT_TRUE(packed.held);
    double errors = 0, plain = 0, squares = 0;
    for (size_t first = 0; first < row.size(); first += static_cast<size_t>(group)) {
      float low = 0, high = 0;
      for (size_t i = first; i < first + static_cast<size_t>(group); ++i) {
        low = std::fmin(low, row[i]);
        high = std::fmax(high, row[i]);
      }
      const float scale = (high - low) / 15, zero = std::round(-low / scale);
      for (size_t i = first; i < first + static_cast<size_t>(group); ++i) {
        const float q = std::fmin(std::fmax(std::round(row[i] / scale) + zero, 0.0F), 15.0F);
        plain += std::pow(row[i] - scale * (q - zero), 2);
        errors += std::pow(row[i] - packed.values[i], 2);
        squares += std::pow(row[i], 2);
      }
    }
    EXPECT_LT(errors, 0.95 * plain) << group;
    const double relative = std::sqrt(errors / squares);
    EXPECT_LT(relative, 0.11) << group;
    if (before > 0) {
      EXPECT_LT(relative, 0.98 * before) << group;
    }
    before = relative;
  }
}

TEST(Int4Rows, WhatInt4HoldsStaysAsItIs) {
  std::vector<float> row(150);
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = (i < 64 ? 0.03125F : 2.0F) * static_cast<float>(static_cast<int>(i * 7 % 16) - 5);
  const Packed packed(row, 64);
  ASSERT_TRUE(packed.held);
  EXPECT_EQ(packed.values, row);
}

TEST(Int4Rows, ZerosStayZerosAndWhatIsNotHeldIsSaid) {
  const Packed zeros(std::vector<float>(70, 0.0F), 32);
  EXPECT_TRUE(zeros.held);
  EXPECT_EQ(zeros.values, std::vector<float>(70, 0.0F));
  const float tiny = std::numeric_limits<float>::denorm_min();
  const Packed small({tiny, -tiny, 1e-30F}, 32);
  EXPECT_TRUE(small.held);
  for (const float value : small.values) EXPECT_LE(std::fabs(value), int4::kLeastScale);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), infinity, -infinity, 4000.0F})
    EXPECT_FALSE(Packed({1, -1, bad}, 32).held);
  EXPECT_TRUE(Packed({-1800, 2000}, 128).held);
}

}  // namespace
}  // namespace fathom
