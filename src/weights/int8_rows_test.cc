#include "weights/int8_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace fathom {
namespace {

TEST(Int8Rows, AValueIsWrongByHalfAStepAtMost) {
  std::vector<float> row(1003);
  for (size_t i = 0; i < row.size(); ++i) row[i] = normal(1, 2, i);
  std::vector<int8_t> q(row.size());
  const float scale = quantise_row(row, q.data());
  float most = 0;
  int largest = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    most = std::fmax(most, std::fabs(row[i]));
    largest = std::max(largest, std::abs(int{q[i]}));
    EXPECT_LE(std::fabs(row[i] - scale * static_cast<float>(q[i])), 0.50001F * scale);
  }
  EXPECT_FLOAT_EQ(scale, most / 127);
  EXPECT_EQ(largest, 127);
}

TEST(Int8Rows, WhatIsInt8AlreadyStaysAsItIs) {
  std::vector<float> row;
  for (int i = -127; i <= 127; ++i) row.push_back(0.03125F * static_cast<float>(i));
  std::vector<int8_t> q(row.size());
  EXPECT_EQ(quantise_row(row, q.data()), 0.03125F);
  for (size_t i = 0; i < row.size(); ++i) EXPECT_EQ(q[i], static_cast<int>(i) - 127);
}

TEST(Int8Rows, ZerosTheSmallestFloatsAndWhatIsNotFinite) {
  std::vector<int8_t> q(3, 9);
  EXPECT_EQ(quantise_row(std::vector<float>{0, -0.0F, 0}, q.data()), 0);
  EXPECT_EQ(q, (std::vector<int8_t>{0, 0, 0}));
  const float tiny = std::numeric_limits<float>::denorm_min();
  const float scale = quantise_row(std::vector<float>{1000 * tiny, -tiny, 0}, q.data());
  EXPECT_GT(scale, 0);
  EXPECT_GT(q[0], 120);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()})
    EXPECT_TRUE(std::isnan(quantise_row(std::vector<float>{1, -bad, 0}, q.data())));
}

TEST(Int8Rows, EachRowHasItsScaleAndTheFirstBadOneIsNamed) {
  std::vector<float> values = {1.2F, -2, 30, 40, 0, 0};
  std::vector<int8_t> q(6);
  std::vector<float> scales(3);
  EXPECT_EQ(store_rows(values, 2, DType::kI8, q.data(), scales.data()), -1);
  EXPECT_EQ(scales, (std::vector<float>{2.0F / 127, 40.0F / 127, 0}));
  EXPECT_EQ(q, (std::vector<int8_t>{76, -127, 95, 127, 0, 0}));
  values[3] = std::nanf("");
  EXPECT_EQ(store_rows(values, 2, DType::kI8, q.data(), scales.data()), 1);
}

}  // namespace
}  // namespace fathom
