// Every order visits each row once per epoch; shuffles differ between epochs and seeds and look random.
#include "data/row_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace fathom {
namespace {

std::vector<int64_t> epoch_of(const RowOrder& order, int64_t epoch) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < order.epoch_length(); ++i) rows.push_back(order.row(epoch, i));
  return rows;
}

OrderSettings shuffled(uint64_t seed) {
  OrderSettings settings;
  settings.seed = seed;
  return settings;
}

OrderSettings affine(int64_t multiplier, int64_t offset) {
  OrderSettings settings;
  settings.kind = OrderKind::kAffine;
  settings.multiplier = multiplier;
  settings.offset = offset;
  return settings;
}

TEST(RowOrder, EveryEpochIsAPermutation) {
  OrderSettings sequential;
  sequential.kind = OrderKind::kSequential;
  for (int64_t rows : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 257, 1000, 4097}) {
    std::vector<int64_t> all(static_cast<size_t>(rows));
    std::iota(all.begin(), all.end(), 0);
    for (const OrderSettings& settings : {sequential, shuffled(1), shuffled(UINT64_MAX), affine(10007, 3)}) {
      const auto order = RowOrder::create(settings, rows);
      ASSERT_TRUE(order.ok()) << order.error().message;
      for (int64_t epoch : {0, 1, 1000}) {
        auto seen = epoch_of(*order, epoch);
        std::sort(seen.begin(), seen.end());
        ASSERT_EQ(seen, all) << name_of(settings.kind) << " " << rows;
      }
    }
  }
}

TEST(RowOrder, AShuffleIsAFunctionOfSeedAndEpoch) {
  const auto order = RowOrder::create(shuffled(5), 1000).value(),
             same = RowOrder::create(shuffled(5), 1000).value(),
             other = RowOrder::create(shuffled(6), 1000).value();
  EXPECT_EQ(epoch_of(order, 3), epoch_of(same, 3));
  EXPECT_NE(epoch_of(order, 3), epoch_of(order, 4));
  EXPECT_NE(epoch_of(order, 3), epoch_of(other, 3));
}

TEST(RowOrder, AShufflePutsEveryRowAnywhereEquallyOften) {
  // Chi-squared over (position, row) of 16 rows: 256 cells, 4000 epochs, 225 degrees of freedom; mean 225,
  // standard deviation 21. The seed is fixed, so the outcome is too.
  constexpr int64_t kRows = 16, kEpochs = 4000;
  const auto order = RowOrder::create(shuffled(11), kRows).value();
  std::vector<int> cells(kRows * kRows);
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    for (int64_t i = 0; i < kRows; ++i) ++cells[static_cast<size_t>(i * kRows + order.row(epoch, i))];
  }
  double chi = 0;
  const double expected = static_cast<double>(kEpochs) / kRows;
  for (int cell : cells) chi += (cell - expected) * (cell - expected) / expected;
  EXPECT_GT(chi, 225 - 4 * 21);
  EXPECT_LT(chi, 225 + 4 * 21);
}

TEST(RowOrder, NeighboursAreTornApart) {
  constexpr int64_t kRows = 5000;
  const auto rows = epoch_of(RowOrder::create(shuffled(2), kRows).value(), 0);
  int64_t adjacent = 0;
  for (size_t i = 1; i < rows.size(); ++i) adjacent += std::abs(rows[i] - rows[i - 1]) == 1;
  EXPECT_LE(adjacent, 12);  // 2 expected
}

TEST(RowOrder, AnAffineOrderDoesNotOverflow) {
  const int64_t rows = (int64_t{1} << 61) - 1, multiplier = (int64_t{1} << 61) - 3;
  const auto order = RowOrder::create(affine(multiplier, INT64_MAX), rows).value();
  __extension__ using Wide = unsigned __int128;
  const auto expected = static_cast<int64_t>(
      (static_cast<Wide>(rows - 1) * static_cast<Wide>(multiplier) + static_cast<Wide>(INT64_MAX)) %
      static_cast<Wide>(rows));
  EXPECT_EQ(order.row(7, rows - 1), expected);
}

TEST(RowOrder, AnExplicitOrderIsTheListEveryEpoch) {
  OrderSettings settings;
  settings.kind = OrderKind::kExplicit;
  settings.listed = {4, 0, 4, 2};
  const auto order = RowOrder::create(settings, 5).value();
  EXPECT_EQ(epoch_of(order, 0), settings.listed);
  EXPECT_EQ(epoch_of(order, 9), settings.listed);
}

TEST(RowOrder, WrongSettingsAreRefused) {
  EXPECT_EQ(RowOrder::create(affine(6, 0), 10).error().message,
            "multiplier 6 has a common factor with the 10 rows, so that rows would be left out");
  EXPECT_EQ(RowOrder::create(affine(3, -1), 10).error().message, "offset -1 is negative");
  EXPECT_EQ(RowOrder::create(shuffled(0), 0).error().message, "an order over 0 rows, expected at least 1");
  OrderSettings listed;
  listed.kind = OrderKind::kExplicit;
  EXPECT_EQ(RowOrder::create(listed, 10).error().message, "an explicit order lists no row");
  listed.listed = {10};
  EXPECT_EQ(RowOrder::create(listed, 10).error().message, "the explicit order lists row 10 of 10");
}

}  // namespace
}  // namespace fathom
