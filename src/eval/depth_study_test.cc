// Loss under budgets of depth: budgets are met, figures add up, and the rules are compared token by token.
#include "eval/depth_study.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>

#include "data/token_file_writer.h"
#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom::eval {
namespace {

class DepthStudies : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<int32_t> ids;
    for (int i = 0; i < 500; ++i) ids.push_back((i * 37 + i / 7) % 96);
    auto writer = TokenFileWriter::create(path_, {97, 96});
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->add_document(ids).ok());
    ASSERT_TRUE(writer->finish().ok());
    std::vector<TokenFile> files;
    files.push_back(std::move(TokenFile::open(path_)).value());
    TokenStream stream = std::move(TokenStream::create(std::move(files))).value();
    packed_.emplace(*PackedRows::create(std::make_shared<const TokenStream>(std::move(stream)), 33, 32));
    plan_ = *build_plan(testing_plan::tiny_mor(Sharing::kMiddleCycle, 3));
    weights_.emplace(random_weights(plan_, 3, DType::kF32, serial_));
  }
  void TearDown() override { std::filesystem::remove(path_); }

  RoutedRows rows(
      int64_t chunk = 256, std::function<Status()> on_row = [] { return Status(); }) {
    return {plan_,   *weights_,        *packed_, {.packing = {.sequence_length = 32}, .chunk = chunk},
            serial_, std::move(on_row)};
  }

  std::string path_ =
      (std::filesystem::temp_directory_path() / ("depths-" + std::to_string(::getpid()) + ".tokens"))
          .string();
  ModelPlan plan_;
  SerialParallel serial_;
  std::optional<Weights> weights_;
  std::optional<PackedRows> packed_;
};

TEST_F(DepthStudies, ABudgetIsMetWhereItWasCalibrated) {
  RoutedRows all = rows();
  const std::vector<double> budgets = {0.2, 0.5, 0.8, 1};
  const auto study = study_depths(all, 6, 8, budgets);
  ASSERT_TRUE(study.ok());
  ASSERT_EQ(study->points.size(), 4U);
  const double expected[] = {1, 1.5, 2.4, 3};  // a first pass is always made
  double before = 0;
  for (size_t i = 0; i < 4; ++i) {
    const BudgetPoint& point = study->points[i];
    EXPECT_NEAR(point.calibrated_depth, expected[i], 0.05) << i;
    EXPECT_NEAR(point.result.mean_depth(), expected[i], 0.4) << i;
    EXPECT_EQ(point.result.packed.predictions, 8 * 32);
    EXPECT_EQ(point.result.depths.size(), 8U * 32);
    EXPECT_NEAR(point.result.packed.nll(), std::log(97), 0.5);
    EXPECT_GT(point.result.flops_share(), before);
    before = point.result.flops_share();
  }
  EXPECT_DOUBLE_EQ(study->points[3].result.flops_share(), 1);
  EXPECT_NEAR(study->top_k.mean_depth(), 2, 0.05);  // capacities 1, 2/3, 1/3 of 32 rows
}

TEST_F(DepthStudies, TheRulesAreComparedTokenByToken) {
  RoutedRows all = rows();
  const auto study = study_depths(all, 0, 5, {});
  ASSERT_TRUE(study.ok());
  int64_t same = 0, total = 0;
  const std::vector<std::vector<int64_t>> confusion = study->confusion();
  for (size_t t = 0; t < confusion.size(); ++t) {
    same += confusion[t][t];
    total += std::accumulate(confusion[t].begin(), confusion[t].end(), int64_t{0});
  }
  EXPECT_EQ(total, 5 * 32);
  EXPECT_DOUBLE_EQ(study->agreement(), static_cast<double>(same) / (5 * 32));
  const int64_t deepest = std::accumulate(confusion[3].begin(), confusion[3].end(), int64_t{0});
  EXPECT_EQ(deepest, 5 * 10);  // a third of 32
  EXPECT_EQ(to_json(*study)["confusion"], nlohmann::ordered_json(confusion));
  EXPECT_NE(to_table(*study, true).find("| topk \\ threshold | 1 | 2 | 3 |\n"), std::string::npos);
}

TEST_F(DepthStudies, ChunksChangeNoBit) {
  RoutedRows small = rows(5), whole = rows();
  const RoutedResult a = *small.by_threshold(1, 3, 0.01F), b = *whole.by_threshold(1, 3, 0.01F);
  EXPECT_EQ(a.packed.log_likelihood, b.packed.log_likelihood);
  EXPECT_EQ(a.depths, b.depths);
  EXPECT_EQ(a.flops, b.flops);
}

TEST_F(DepthStudies, EndsWhenItIsTold) {
  int calls = 0;
  RoutedRows stopped = rows(256, [&]() -> Status { return ++calls < 4 ? Status() : invalid("stopped"); });
  const auto study = study_depths(stopped, 2, 8, std::vector<double>{0.5});
  ASSERT_FALSE(study.ok());
  EXPECT_EQ(study.error().message, "stopped");
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace fathom::eval
