// An iteration stopped anywhere goes on exactly, through JSON, and refuses to go on with something else.
#include "data/row_iterator.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace fathom {
namespace {

std::vector<OrderSettings> every_kind() {
  std::vector<OrderSettings> all(4);
  all[0].kind = OrderKind::kSequential;
  all[1].seed = UINT64_MAX - 3;  // more than a double can hold
  all[2].kind = OrderKind::kAffine;
  all[2].multiplier = 7;
  all[2].offset = 5;
  all[3].kind = OrderKind::kExplicit;
  all[3].listed = {3, 1, 3, 9};
  return all;
}

RowIterator iterator(const OrderSettings& settings, int64_t rows = 23, const std::string& data = "d") {
  return RowIterator(RowOrder::create(settings, rows).value(), data);
}

TEST(RowIterator, ResumedAtAnyPointItGivesTheSameRows) {
  for (const OrderSettings& settings : every_kind()) {
    const auto whole = iterator(settings).next_batch(100);
    for (int64_t stop = 0; stop <= 100; ++stop) {
      RowIterator first = iterator(settings);
      std::vector<int64_t> rows = first.next_batch(stop);
      const auto text = parse_json(to_json(first.state()).dump());
      ASSERT_TRUE(text.ok());
      const auto saved = iteration_state_from_json(*text);
      ASSERT_TRUE(saved.ok()) << saved.error().message;
      EXPECT_EQ(*saved, first.state());
      RowIterator second = iterator(settings);
      ASSERT_TRUE(second.restore(*saved).ok());
      for (int64_t row : second.next_batch(100 - stop)) rows.push_back(row);
      ASSERT_EQ(rows, whole) << name_of(settings.kind) << " " << stop;
    }
  }
}

TEST(RowIterator, TheCutIntoBatchesDoesNotMatter) {
  for (const OrderSettings& settings : every_kind()) {
    const auto whole = iterator(settings).next_batch(90);
    for (int64_t size : {1, 4, 7, 23, 50}) {
      RowIterator pieces = iterator(settings);
      std::vector<int64_t> rows;
      while (rows.size() < 90) {
        for (int64_t row : pieces.next_batch(size)) rows.push_back(row);
      }
      rows.resize(90);
      EXPECT_EQ(rows, whole);
    }
  }
}

TEST(RowIterator, AnotherRunIsNotResumed) {
  const auto kinds = every_kind();
  const auto refusal = [](RowIterator run, const IterationState& saved) {
    const Status status = run.restore(saved);
    return status.ok() ? "accepted" : status.error().message;
  };
  const IterationState saved = iterator(kinds[1]).state();
  EXPECT_EQ(refusal(iterator(kinds[1], 23, "e"), saved),
            "cannot resume: the saved data is d, this run's is e");
  EXPECT_EQ(refusal(iterator(kinds[1], 24), saved),
            "cannot resume: the saved number of rows is 23, this run's is 24");
  EXPECT_EQ(refusal(iterator(kinds[0]), saved),
            "cannot resume: the saved order is shuffled, this run's is sequential");
  OrderSettings other = kinds[1];
  other.seed = 1;
  EXPECT_EQ(refusal(iterator(other), saved),
            "cannot resume: the saved seed is 18446744073709551612, this run's is 1");
  other = kinds[2];
  other.multiplier = 8;
  EXPECT_EQ(refusal(iterator(other), iterator(kinds[2]).state()),
            "cannot resume: the saved multiplier is 7, this run's is 8");
  other = kinds[3];
  other.listed = {3, 1, 9, 3};
  EXPECT_NE(refusal(iterator(other), iterator(kinds[3]).state()).find("the saved list of rows"),
            std::string::npos);
  IterationState beyond = saved;
  beyond.position = 23;
  EXPECT_EQ(refusal(iterator(kinds[1]), beyond), "cannot resume: position 23 of an epoch of 23 rows");
}

// What is accepted can be counted, and gives its next row at once or after drawing what a run may have drawn.
TEST(RowIterator, EpochsThatNoRunReachesAreRefused) {
  std::vector<OrderSettings> kinds = every_kind();
  kinds.push_back({.kind = OrderKind::kFileGroups, .seed = 4, .groups = {.file_rows = {11, 12}, .files = 1}});
  for (const OrderSettings& settings : kinds) {
    RowIterator run = iterator(settings);
    IterationState saved = run.state();
    saved.position = 1;
    const auto length = static_cast<int64_t>(settings.kind == OrderKind::kExplicit ? 4 : 23);
    for (int64_t epoch : {kMostRowsGiven / length + 1, INT64_MAX / length, INT64_MAX}) {
      saved.epoch = epoch;
      const Status status = run.restore(saved);
      ASSERT_FALSE(status.ok()) << name_of(settings.kind) << " " << epoch;
      EXPECT_EQ(status.error().message, "cannot resume: position 1 of epoch " + std::to_string(epoch) +
                                            " is beyond the limit of 4294967296 rows");
    }
    saved.epoch = 1000;
    ASSERT_TRUE(run.restore(saved).ok());
    EXPECT_EQ(run.given(), 1000 * length + 1);
    run.next();
  }
}

// Files shorter than a row make groups without rows, and each is a permutation to draw.
TEST(RowIterator, GroupsWithoutRowsCount) {
  std::vector<int64_t> file_rows(1000, 0);
  file_rows[0] = 1;
  const OrderSettings settings = {.kind = OrderKind::kFileGroups, .groups = {.file_rows = file_rows}};
  RowIterator run = iterator(settings, 1);
  IterationState saved = run.state();
  saved.epoch = kMostRowsGiven / 1000;
  EXPECT_TRUE(run.restore(saved).ok());
  ++saved.epoch;
  EXPECT_FALSE(run.restore(saved).ok());
}

TEST(RowIterator, BrokenStatesAreRefusedByField) {
  const nlohmann::json good = to_json(iterator(every_kind()[1]).state());
  const auto message = [](const nlohmann::json& json) {
    const auto state = iteration_state_from_json(json);
    return state.ok() ? "accepted" : state.error().message;
  };
  EXPECT_EQ(message(good), "accepted");
  int fields = 0;
  for (const auto& [key, value] : good.items()) {
    nlohmann::json without = good;
    without.erase(key);
    EXPECT_NE(message(without).find("\"" + key + "\""), std::string::npos) << message(without);
    ++fields;
  }
  EXPECT_EQ(fields, 9);
  nlohmann::json wrong = good;
  wrong["position"] = -1;
  EXPECT_EQ(message(wrong),
            "iteration state: \"position\" is a negative integer, expected a non-negative integer");
  wrong = good;
  wrong["order"] = "random";
  EXPECT_EQ(message(wrong), "iteration state: unknown order \"random\"");
  EXPECT_EQ(message(nlohmann::json::array()), "iteration state: is an array, expected an object");
}

}  // namespace
}  // namespace fathom
