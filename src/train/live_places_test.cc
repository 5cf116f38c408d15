// Dead tokens, counted by hand.
#include "train/live_places.h"

#include <gtest/gtest.h>

namespace fathom::train {
namespace {

// Sequences of these lengths, of which the rows `kept` of the batch made the last of two passes.
void note(LivePlaces& places, const std::vector<int32_t>& lengths, const std::vector<int32_t>& kept) {
  Batch batch;
  for (int32_t length : lengths) {
    const std::vector<int32_t> ids(static_cast<size_t>(length), 1);
    batch.add(ids, ids);
  }
  ForwardResult result;
  result.passes.resize(2);
  for (int32_t row = 0; row < batch.rows(); ++row) result.passes[0].kept.push_back(row);
  result.passes[1].kept = kept;
  places.note(batch, result);
}

TEST(LivePlaces, APlaceIsAliveOnceATokenOfAnySequenceMadeTheLastPassThere) {
  LivePlaces places(2);
  EXPECT_EQ(places.dead_share(), 0);
  note(places, {4, 3}, {});
  EXPECT_EQ(places.dead_share(), 1);
  note(places, {4, 3}, {0, 5});  // row 5 is at place 1 of the second sequence
  EXPECT_EQ(places.dead_share(), 0.5);
  note(places, {4, 3}, {1, 4});  // both were alive
  EXPECT_EQ(places.dead_share(), 0.5);
  note(places, {1, 4}, {4});  // the last place
  EXPECT_EQ(places.dead_share(), 0.25);
  note(places, {8}, {});  // places of longer rows are places too
  EXPECT_EQ(places.dead_share(), 5.0 / 8);
  note(places, {4, 8, 2}, {4, 8, 11, 13});  // places 0, 4, 7 and, behind the others, 1
  EXPECT_EQ(places.dead_share(), 3.0 / 8);
}

TEST(LivePlaces, APassThatNobodyCameToKeepsNobodyAlive) {
  LivePlaces places(3);
  note(places, {4}, {0, 1});  // the second of three
  EXPECT_EQ(places.dead_share(), 1);
}

}  // namespace
}  // namespace fathom::train
