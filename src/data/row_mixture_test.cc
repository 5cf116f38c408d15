// Any mixture, at any row: shares are kept, rows of a source come as in its own order, and it can be resumed.
#include "data/row_mixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/random.h"

namespace fathom {
namespace {

RowIterator iterator(int64_t rows, uint64_t seed, const std::string& data = "d") {
  return {RowOrder::create({.kind = OrderKind::kShuffled, .seed = seed}, rows).value(),
          data + std::to_string(rows)};
}

RowMixture mixture(const std::vector<double>& weights, int64_t rows = 7) {
  std::vector<MixtureSource> sources;
  for (size_t i = 0; i < weights.size(); ++i) {
    sources.push_back(
        {"source-" + std::to_string(i), weights[i], iterator(rows + static_cast<int64_t>(i), i)});
  }
  Result<RowMixture> made = RowMixture::create(std::move(sources));
  EXPECT_TRUE(made.ok()) << made.error().message;
  return std::move(made).value();
}

// Shares of every kind: equal, tiny, many, irrational, on top of each other.
std::vector<std::vector<double>> many_weights() {
  std::vector<std::vector<double>> all = {
      {1},       {0.5, 0.5},   {1, 2},         {0.7, 0.3},     {1, 1, 1},           {0.999, 1e-3},
      {1, 1e-9}, {3, 1, 1, 1}, {M_PI, 1, M_E}, {1e300, 2e300}, {2, 3, 5, 7, 11, 13}};
  for (uint64_t n = 0; n < 60; ++n) {
    std::vector<double> weights(2 + n % 12);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = std::exp(6.0 * uniform(9, n, i) - 3.0);
    all.push_back(weights);
  }
  return all;
}

TEST(RowMixture, EveryPrefixKeepsTheSharesToLessThanOneRow) {
  for (const std::vector<double>& weights : many_weights()) {
    RowMixture rows = mixture(weights);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    const double bound = weights.size() == 1 ? 0 : 1 - 1.0 / static_cast<double>(2 * weights.size() - 2);
    for (int64_t n = 1; n <= 5000; ++n) {
      rows.next();
      for (size_t i = 0; i < weights.size(); ++i) {
        const double wanted = weights[i] / sum * static_cast<double>(n);
        ASSERT_LE(std::fabs(static_cast<double>(rows.rows_given(i)) - wanted), bound + 1e-5)
            << "source " << i << " of " << weights.size() << " after " << n << " rows";
      }
    }
  }
}

TEST(RowMixture, EachSourceComesInItsOwnOrderEpochAfterEpoch) {
  RowMixture rows = mixture({5, 2, 1});
  std::vector<RowIterator> alone;
  for (size_t i = 0; i < 3; ++i) alone.push_back(iterator(7 + static_cast<int64_t>(i), i));
  std::vector<std::vector<int64_t>> given(3);
  for (int n = 0; n < 500; ++n) {
    const MixtureRow row = rows.next();
    EXPECT_EQ(row.row, alone[static_cast<size_t>(row.source)].next());
    given[static_cast<size_t>(row.source)].push_back(row.row);
  }
  for (size_t i = 0; i < 3; ++i) {
    const size_t length = 7 + i;
    for (size_t begin = 0; begin + length <= given[i].size(); begin += length) {
      const std::set<int64_t> epoch(given[i].begin() + static_cast<int64_t>(begin),
                                    given[i].begin() + static_cast<int64_t>(begin + length));
      EXPECT_EQ(epoch.size(), length) << "a row twice in an epoch of source " << i;
    }
  }
}

TEST(RowMixture, OneSourceIsTheIteratorItself) {
  RowMixture rows = mixture({0.25});
  RowIterator alone = iterator(7, 0);
  for (int n = 0; n < 30; ++n) EXPECT_EQ(rows.next(), (MixtureRow{0, alone.next()}));
  EXPECT_EQ(to_json(rows.state()), to_json(alone.state()));
}

TEST(RowMixture, GoesOnAtAnyRowThroughJson) {
  const std::vector<double> weights = {0.6, 0.3, 0.1};
  RowMixture whole = mixture(weights);
  std::vector<MixtureRow> all;
  std::vector<std::string> saved;
  for (int n = 0; n < 90; ++n) {
    saved.push_back(to_json(whole.state()).dump());
    all.push_back(whole.next());
  }
  for (size_t n = 0; n < saved.size(); ++n) {
    const Result<MixtureState> state = mixture_state_from_json(nlohmann::json::parse(saved[n]));
    ASSERT_TRUE(state.ok()) << state.error().message;
    RowMixture resumed = mixture(weights);
    const Status status = resumed.restore(*state);
    ASSERT_TRUE(status.ok()) << status.error().message;
    const std::vector<MixtureRow> rest = resumed.next_batch(static_cast<int64_t>(all.size() - n));
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), all.begin() + static_cast<int64_t>(n)))
        << "from row " << n;
  }
}

TEST(RowMixture, IsNotResumedOnSomethingElse) {
  RowMixture rows = mixture({1, 3});
  rows.next_batch(10);
  const MixtureState state = rows.state();
  EXPECT_EQ(mixture({1, 3, 1}).restore(state).error().message,
            "cannot resume: the saved data has 2 sources, this run's 3");
  EXPECT_EQ(mixture({1, 1}).restore(state).error().message,
            "cannot resume: the saved share of source-0 is 0.250000, this run's is 0.500000");
  EXPECT_EQ(mixture({1, 3}, 8).restore(state).error().message,
            "source-0: cannot resume: the saved data is d7, this run's is d8");
  EXPECT_TRUE(mixture({2, 6}).restore(state).ok()) << "the same shares";
}

// Each source alone is within what a run may have given, together they are not.
TEST(RowMixture, SourcesThatHaveGivenMoreThanARunCanAreRefused) {
  MixtureState state = mixture({1, 3}).state();
  for (IterationState& source : state.sources) source.epoch = kMostRowsGiven / 2 / source.rows + 1;
  const Status status = mixture({1, 3}).restore(state);
  ASSERT_FALSE(status.ok());
  EXPECT_TRUE(status.error().message.starts_with("cannot resume: the sources have given 42949"))
      << status.error().message;
  state.sources[1].epoch = 0;
  EXPECT_TRUE(mixture({1, 3}).restore(state).ok());
}

TEST(RowMixture, RefusesWeightsThatAreNone) {
  for (const double weight :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    std::vector<MixtureSource> sources = {{"books", weight, iterator(3, 1)}};
    EXPECT_NE(RowMixture::create(std::move(sources)).error().message.find("the weight of books is "),
              std::string::npos);
  }
  EXPECT_FALSE(RowMixture::create({}).ok());
}

TEST(RowMixture, StatesFromOutsideAreChecked) {
  for (const char* text : {"[]", "{}", "{\"sources\": 3}", "{\"sources\": []}", "{\"sources\": [{}]}"}) {
    EXPECT_FALSE(mixture_state_from_json(nlohmann::json::parse(text)).ok()) << text;
  }
  nlohmann::json state = to_json(mixture({1, 2}).state());
  state["sources"][1].erase("share");
  EXPECT_EQ(mixture_state_from_json(state).error().message, "iteration state: no number \"share\"");
}

}  // namespace
}  // namespace fathom
