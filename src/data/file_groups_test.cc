// Rows of files in the published order.
#include "data/file_groups.h"

#include <gtest/gtest.h>

#include <set>

#include "data/row_iterator.h"

namespace fathom {
namespace {

// That the numbers are numpy's is held by recorded orders of rows (fathom verify, packed_data).
TEST(NumpyGenerator, DrawsPermutationsThatDiffer) {
  NumpyGenerator generator(12345), same(12345), other(12346);
  const std::vector<int64_t> first = generator.permutation(100), second = generator.permutation(100);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 100U);
  EXPECT_NE(first, second);
  EXPECT_EQ(same.permutation(100), first);
  EXPECT_NE(other.permutation(100), first);
}

std::vector<int64_t> epoch_of(FileGroups& groups, int64_t epoch) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < groups.epoch_length(); ++i) rows.push_back(groups.row(epoch, i));
  return rows;
}

TEST(FileGroups, AGroupIsReadBeforeTheNext) {
  auto groups = FileGroups::create({.file_rows = {3, 4, 2, 5, 7}, .files = 2, .seed = 9});
  ASSERT_TRUE(groups.ok()) << groups.error().message;
  ASSERT_EQ(groups->epoch_length(), 14);  // the fifth file has no partner
  for (int64_t epoch : {0, 1, 5}) {
    const std::vector<int64_t> rows = epoch_of(*groups, epoch);
    const std::set<int64_t> first(rows.begin(), rows.begin() + 7), second(rows.begin() + 7, rows.end());
    EXPECT_EQ(first.size(), 7U);
    EXPECT_EQ(*first.rbegin(), 6);
    EXPECT_EQ(second.size(), 7U);
    EXPECT_EQ(*second.begin(), 7);
    EXPECT_EQ(*second.rbegin(), 13);
  }
  EXPECT_NE(epoch_of(*groups, 0), epoch_of(*groups, 1));
}

TEST(FileGroups, WhatIsAskedBeforeChangesNoAnswer) {
  const FileGroupSettings settings = {.file_rows = {5, 5, 5, 5}, .files = 2, .seed = 3};
  auto forward = FileGroups::create(settings), jumping = FileGroups::create(settings);
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 4; ++epoch) epochs.push_back(epoch_of(*forward, epoch));
  for (int64_t epoch : {3, 0, 2, 2, 1})
    EXPECT_EQ(epoch_of(*jumping, epoch), epochs[static_cast<size_t>(epoch)]);
}

TEST(FileGroups, AnIncompleteGroupCountsIfAsked) {
  auto groups =
      FileGroups::create({.file_rows = {3, 4, 2}, .files = 2, .shuffled = false, .whole_groups = false});
  ASSERT_TRUE(groups.ok());
  EXPECT_EQ(epoch_of(*groups, 1), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(FileGroups, FewerFilesThanAGroupHasAreOneGroup) {
  auto groups = FileGroups::create({.file_rows = {3, 4}, .files = 3, .shuffled = false});
  ASSERT_TRUE(groups.ok()) << groups.error().message;
  EXPECT_EQ(epoch_of(*groups, 0), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(FileGroups::create({.file_rows = {0, 0}, .files = 3}).error().message,
            "groups of 2 files have no row: there are 2 files with 0 rows");
}

TEST(FileGroups, AnIterationResumesInTheMiddleOfAGroup) {
  const OrderSettings settings = {
      .kind = OrderKind::kFileGroups, .seed = 4, .groups = {.file_rows = {5, 6, 7, 8}, .files = 2}};
  RowIterator whole(RowOrder::create(settings, 26).value(), "data");
  std::vector<int64_t> expected = whole.next_batch(70);
  RowIterator first(RowOrder::create(settings, 26).value(), "data");
  std::vector<int64_t> got = first.next_batch(33);
  const auto saved = iteration_state_from_json(to_json(first.state()));
  ASSERT_TRUE(saved.ok()) << saved.error().message;
  RowIterator second(RowOrder::create(settings, 26).value(), "data");
  ASSERT_TRUE(second.restore(*saved).ok());
  for (int64_t row : second.next_batch(37)) got.push_back(row);
  EXPECT_EQ(got, expected);

  OrderSettings other = settings;
  other.groups.files = 1;
  RowIterator changed(RowOrder::create(other, 26).value(), "data");
  EXPECT_FALSE(changed.restore(*saved).ok());
  EXPECT_EQ(RowOrder::create(settings, 25).error().message,
            "an order over the 26 rows of 4 files, but there are 25");
}

}  // namespace
}  // namespace fathom
