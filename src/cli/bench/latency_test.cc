#include "cli/bench/latency.h"

#include <gtest/gtest.h>

namespace fathom::cli::bench {
namespace {

TEST(Latency, PercentilesLieBetweenSamplesInProportion) {
  const std::vector<double> one = {7}, four = {1, 2, 4, 8};
  for (double percent : {0.0, 50.0, 100.0}) EXPECT_EQ(percentile(one, percent), 7);
  EXPECT_EQ(percentile(four, 0), 1);
  EXPECT_EQ(percentile(four, 100), 8);
  EXPECT_DOUBLE_EQ(percentile(four, 50), 3);
  EXPECT_DOUBLE_EQ(percentile(four, 95), 7.4);
  EXPECT_DOUBLE_EQ(percentile(four, 99), 7.88);
  EXPECT_DOUBLE_EQ(percentile(four, 100.0 / 3), 2);
}

TEST(Latency, DoesNotDependOnTheOrderOfSamples) {
  std::vector<double> samples;
  for (int i = 0; i <= 100; ++i) samples.push_back((i * 37) % 101);
  const std::optional<Latency> latency = latency_of(samples);
  ASSERT_TRUE(latency.has_value());
  EXPECT_DOUBLE_EQ(latency->mean, 50);
  EXPECT_DOUBLE_EQ(latency->p50, 50);
  EXPECT_DOUBLE_EQ(latency->p95, 95);
  EXPECT_DOUBLE_EQ(latency->p99, 99);
  EXPECT_EQ(latency->most, 100);
  EXPECT_FALSE(latency_of({}).has_value());
}

}  // namespace
}  // namespace fathom::cli::bench
