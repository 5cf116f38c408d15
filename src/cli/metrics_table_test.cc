// metrics.csv: every value in its column, exact, and a file that goes on keeps its shape.
#include "cli/metrics_table.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace fathom::cli {
namespace {

class MetricsTableTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  MetricsTable open(int64_t steps_done, const std::vector<std::string>& columns) {
    Result<MetricsTable> table = MetricsTable::open(path_, steps_done, columns);
    EXPECT_TRUE(table.ok()) << table.error().message;
    return std::move(table).value();
  }
  std::string content() const { return read_file(path_).value(); }
  std::string path_ =
      (std::filesystem::temp_directory_path() / ("metrics-table-" + std::to_string(getpid()) + ".csv"))
          .string();
};

TEST_F(MetricsTableTest, ValuesStandInTheirColumnsAndReadBackExactly) {
  MetricsTable table = open(0, {"loss", "grad_norm", "nll"});
  ASSERT_TRUE(table.append(1, {{"train/grad_norm", 0.1}, {"train/loss", 1.0 / 3}}).ok());
  ASSERT_TRUE(table.append(1, {{"validation/nll", 2}}).ok());
  EXPECT_EQ(content(), "step,loss,grad_norm,nll\n1,0.3333333333333333,0.1,\n1,,,2\n");
  EXPECT_EQ(std::stod("0.3333333333333333"), 1.0 / 3);
}

TEST_F(MetricsTableTest, GoingOnDropsWhatIsBehindTheCheckpointAndAPartOfALine) {
  {
    MetricsTable table = open(0, {"loss"});
    for (int64_t step = 1; step <= 12; ++step) {
      ASSERT_TRUE(table.append(step, {{"train/loss", static_cast<double>(step)}}).ok());
    }
  }
  ASSERT_TRUE(write_file_atomic(path_, content() + "13,0.").ok());
  MetricsTable table = open(10, {"loss"});
  ASSERT_TRUE(table.append(11, {{"train/loss", 0.5}}).ok());
  EXPECT_EQ(content(), "step,loss\n1,1\n2,2\n3,3\n4,4\n5,5\n6,6\n7,7\n8,8\n9,9\n10,10\n11,0.5\n");
}

TEST_F(MetricsTableTest, AFileKeepsItsColumnsWhenTheRunHasOthersNow) {
  ASSERT_TRUE(open(0, {"loss", "gone"}).append(1, {{"train/loss", 1}, {"x/gone", 2}}).ok());
  ASSERT_TRUE(open(1, {"fresh", "loss"}).append(2, {{"train/loss", 3}, {"x/fresh", 4}}).ok());
  EXPECT_EQ(content(), "step,loss,gone\n1,1,2\n2,3,\n");
}

}  // namespace
}  // namespace fathom::cli
