// Rows of serving runs follow from what was measured, in every format.
#include "cli/bench/serving_row.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/testing.h"

namespace fathom::cli::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Json row_for(const ServingRun& run) {
  BenchModel model{.name = "small", .given = "models/small", .plan = *build_plan(testing_plan::tiny())};
  model.random = true;
  const ModelFacts facts{.model = &model, .threads = 2, .chunk = 512, .time = "2026-01-02T03:04:05Z"};
  return serving_row_of({"1.2.3", "abc1234", "A Processor", "avx2"}, facts, run);
}

ServingRun whole_run() {
  return {.load = {.requests = 4, .rate = 0.5, .prefix = 16, .input = 64, .output = 8, .range_ratio = 0.25},
          .max_sequences = 64,
          .state_budget = 8 << 20,
          .prefix_cache = 1 << 20,
          .result = {.completed = 4,
                     .input_tokens = 320,
                     .output_tokens = 32,
                     .seconds = 16,
                     .first_token = {0.5, 1.5, 1, 1},
                     .between = {0.25, 0.75},
                     .all = {2, 3, 4, 5},
                     .most_running = 3},
          .counts = {.passes = 40, .rows = 400, .preemptions = 2, .cached = 48},
          .most_state_bytes = 3 << 20};
}

TEST(ServingRow, FollowsFromWhatWasMeasured) {
  const Json row = row_for(whole_run());
  EXPECT_EQ(row["test"], "serve4");
  EXPECT_EQ(row["model"], "small");
  EXPECT_EQ(row["request_rate"], 0.5);
  EXPECT_TRUE(row["max_concurrency"].is_null());
  EXPECT_DOUBLE_EQ(row["request_throughput"].get<double>(), 0.25);
  EXPECT_DOUBLE_EQ(row["input_throughput"].get<double>(), 20);
  EXPECT_DOUBLE_EQ(row["output_throughput"].get<double>(), 2);
  EXPECT_DOUBLE_EQ(row["total_token_throughput"].get<double>(), 22);
  EXPECT_DOUBLE_EQ(row["rows_per_pass"].get<double>(), 10);
  EXPECT_DOUBLE_EQ(row["mean_ttft_ms"].get<double>(), 1000);
  EXPECT_DOUBLE_EQ(row["max_ttft_ms"].get<double>(), 1500);
  EXPECT_DOUBLE_EQ(row["p50_itl_ms"].get<double>(), 500);
  EXPECT_DOUBLE_EQ(row["p99_e2el_ms"].get<double>(), 4970);
  EXPECT_EQ(row["stopped"], false);
}

TEST(ServingRow, EveryFormatHasIt) {
  const Json row = row_for(whole_run());
  EXPECT_EQ(Json::parse(serving_text({row}, Format::kJson)), Json::array({row}));
  EXPECT_EQ(Json::parse(serving_text({row}, Format::kJsonLines)), row);
  EXPECT_THAT(serving_text({row}, Format::kCsv), HasSubstr("p95_ttft_ms"));
  const std::string text = serving_text({row}, Format::kMarkdown);
  for (const char* part :
       {"| small, bf16, 2 threads |", "0.250", "3.0 MiB", "| time to first token ", "| inter-token latency ",
        "| end-to-end latency ", "4970.0", "0.500 a second (Poisson)", "prompts of 16 + 64 tokens",
        "small, bf16, 2 threads: weights are random.", "A Processor, kernels avx2, fathom 1.2.3 (abc1234)"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("stopped")));
}

TEST(ServingRow, OfARunThatWasStoppedSaysSo) {
  ServingRun run;
  run.load = {.requests = 9, .concurrency = 2};
  run.result.stopped = true;
  const Json row = row_for(run);
  EXPECT_EQ(row["request_rate"], "inf");
  EXPECT_EQ(row["max_concurrency"], 2);
  EXPECT_TRUE(row["mean_ttft_ms"].is_null() && row["request_throughput"].is_null());
  const std::string text = serving_text({row}, Format::kMarkdown);
  EXPECT_THAT(text, HasSubstr("stopped after 0 of 9 requests; figures are of what had been measured.\n"));
  EXPECT_THAT(text, HasSubstr("sent when there is a place, up to 2 under way"));
}

}  // namespace
}  // namespace fathom::cli::bench
