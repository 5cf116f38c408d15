// Every format carries the same numbers, and they follow from the samples.
#include "cli/bench/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/bench/depth_chart.h"
#include "plan/testing.h"

namespace fathom::cli::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Fixture {
  Fixture() {
    model.name = "a \"small\", model";
    model.given = "models/small";
    model.plan = *build_plan(testing_plan::tiny());
    model.random = true;
    // 10 tokens at 1000 bytes each.
    decode.workload = {.generate = 10, .depth = 4};
    decode.bytes = {.products = 600, .head = 200, .small = 50, .kv = 150};
    decode.flops = {.linear = 2000, .attention = 300, .head = 500};
    decode.repetitions = {{2.0, 10'000, 1e6}, {1.0, 12'500, 2e6}, {4.0, 10'000, 4e6}};
    prefill.workload = {.prompt = 8};
    prefill.flops = {.linear = 6000, .attention = 1000, .scan = 80, .head = 2000, .router = 40};
    prefill.repetitions = {{2.0, 10'000, 16'000}};
    prefill.mean_depth = 1.75;
    Profile profile{.run = {4.0, 10'000, 20'000}, .ops = {}};
    profile.ops[static_cast<size_t>(EngineOp::kLinear)] = {2.0, 7};
    profile.ops[static_cast<size_t>(EngineOp::kNorm)] = {0.5, 3};
    prefill.profile = profile;
  }
  std::vector<Json> rows() const {
    const Environment environment{"1.2.3", "abc1234", "A Processor", "avx2"};
    const ModelFacts facts{.model = &model,
                           .matrix_type = DType::kBF16,
                           .kv_type = DType::kF32,
                           .threads = 2,
                           .chunk = 512,
                           .depth_fill = "prefill",
                           .read_loop = "4 streams",
                           .gemm_loop = "vfmadd, 256 bits",
                           .time = "2026-01-02T03:04:05Z"};
    return {row_of(environment, facts, decode), row_of(environment, facts, prefill)};
  }
  BenchModel model;
  Measurement decode, prefill;
};

TEST(BenchOutput, SpreadOfSamples) {
  const std::vector<double> odd = {3, 1, 2}, even = {4, 1, 2, 3}, one = {5};
  EXPECT_DOUBLE_EQ(spread_of(odd).mean, 2);
  EXPECT_DOUBLE_EQ(spread_of(odd).median, 2);
  EXPECT_DOUBLE_EQ(spread_of(odd).stddev, 1);
  EXPECT_DOUBLE_EQ(spread_of(even).median, 2.5);
  EXPECT_EQ(spread_of(even).least, 1);
  EXPECT_EQ(spread_of(even).most, 4);
  EXPECT_EQ(spread_of(one).stddev, 0);
  EXPECT_EQ(spread_of(one).median, 5);
}

TEST(BenchOutput, RowsFollowFromTheSamples) {
  const std::vector<Json> rows = Fixture().rows();
  const Json& decode = rows[0];
  EXPECT_EQ(decode["test"], "tg10 @ d4");
  EXPECT_EQ(decode["samples_ts"], Json({5.0, 10.0, 2.5}));
  EXPECT_DOUBLE_EQ(decode["median_ts"].get<double>(), 5);
  EXPECT_EQ(decode["bytes_per_token"], 1000.0);
  EXPECT_EQ(decode["bytes_weights"], 850.0);
  // 5, 10 and 2.5 thousand bytes a second of 10, 12.5 and 10 thousand.
  EXPECT_EQ(decode["samples_share"], Json({0.5, 0.8, 0.25}));
  EXPECT_DOUBLE_EQ(decode["share_median"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(decode["flops_products"].get<double>(), 250);
  EXPECT_EQ(decode["depth_fill"], "prefill");
  EXPECT_TRUE(decode["mean_depth"].is_null() && decode["profile"].is_null());

  const Json& prefill = rows[1];
  EXPECT_EQ(prefill["test"], "pp8");
  EXPECT_TRUE(prefill["bytes_per_token"].is_null() && prefill["depth_fill"].is_null());
  EXPECT_DOUBLE_EQ(prefill["flops_per_token"].get<double>(), 9120.0 / 8);
  EXPECT_EQ(prefill["samples_share"], Json({8000.0 / 2 / 16'000}));
  EXPECT_EQ(prefill["limit"], "gemm");
  const Json& profile = prefill["profile"];
  ASSERT_EQ(profile.size(), 3U);
  EXPECT_EQ(profile[0]["op"], "norm");
  EXPECT_TRUE(profile[0]["share_of_limit"].is_null());
  EXPECT_EQ(profile[1]["op"], "linear");
  EXPECT_DOUBLE_EQ(profile[1]["share_of_limit"].get<double>(), 6000 / 2.0 / 20'000);
  EXPECT_EQ(profile[2]["op"], "between ops");
  double share = 0;
  for (const Json& op : profile) share += op["share_of_time"].get<double>();
  EXPECT_DOUBLE_EQ(share, 1);
}

// The same work at other peaks: what takes longer limits.
TEST(BenchOutput, DecodingIsLimitedByWhatTakesLonger) {
  Fixture many;
  many.decode.workload.parallel = 4;  // 40,000 bytes and 2500 products in a repetition of a second
  many.decode.repetitions = {{1.0, 80'000, 10'000}};
  const Json reads = many.rows()[0];
  EXPECT_EQ(reads["test"], "tg10 x4 @ d4");
  EXPECT_EQ(reads["limit"], "read");
  EXPECT_DOUBLE_EQ(reads["share_median"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(reads["median_ts"].get<double>(), 40);
  EXPECT_DOUBLE_EQ(reads["median_ts_sequence"].get<double>(), 10);

  many.decode.repetitions = {{1.0, 400'000, 10'000}};
  Profile profile{.run = many.decode.repetitions.front(), .ops = {}};
  profile.ops[static_cast<size_t>(EngineOp::kLinear)] = {0.5, 7};
  profile.ops[static_cast<size_t>(EngineOp::kAttention)] = {0.25, 7};
  many.decode.profile = profile;
  const Json multiplies = many.rows()[0];
  EXPECT_EQ(multiplies["limit"], "gemm");
  EXPECT_DOUBLE_EQ(multiplies["share_median"].get<double>(), 0.25);
  for (const Json& op : multiplies["profile"]) {
    if (op["op"] == "linear") {  // 2000 products in 0.5 s
      EXPECT_EQ(op["unit"], "flops");
      EXPECT_DOUBLE_EQ(op["share_of_limit"].get<double>(), 0.4);
    } else if (op["op"] == "attention") {  // 40 x 150 bytes in 0.25 s
      EXPECT_EQ(op["unit"], "bytes");
      EXPECT_DOUBLE_EQ(op["share_of_limit"].get<double>(), 0.06);
    }
  }
  const std::string text = to_text(many.rows(), Format::kMarkdown);
  for (const char* part :
       {"| tokens/s of a sequence |", " GEMM 1e-05 GFLOP/s (", "4e-06 GFLOP/s", "2.4e-05 GB/s"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(to_text(Fixture().rows(), Format::kMarkdown), Not(HasSubstr("of a sequence")));
}

TEST(BenchOutput, JsonParsesBack) {
  const std::vector<Json> rows = Fixture().rows();
  EXPECT_EQ(Json::parse(to_text(rows, Format::kJson)), Json(rows));
  EXPECT_EQ(Json::parse(to_text({}, Format::kJson)), Json::array());
  std::istringstream lines(to_text(rows, Format::kJsonLines));
  std::string line;
  for (const Json& row : rows) {
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_EQ(Json::parse(line), row);
  }
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(BenchOutput, NamesThatAreNoUtf8AreReplaced) {
  Json row = Fixture().rows().front();
  row["model_filename"] = "m\xff";
  EXPECT_EQ(Json::parse(to_text({row}, Format::kJson))[0]["model_filename"], "m\xEF\xBF\xBD");
  EXPECT_EQ(Json::parse(to_text({row}, Format::kJsonLines))["model_filename"], "m\xEF\xBF\xBD");
}

// Cells of one line of comma-separated values with quotes.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += line[++i];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += line[i];
    }
  }
  EXPECT_FALSE(quoted);
  return cells;
}

TEST(BenchOutput, CsvParsesBack) {
  const std::vector<Json> rows = Fixture().rows();
  std::istringstream lines(to_text(rows, Format::kCsv));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const std::vector<std::string> names = cells_of(line);
  size_t scalars = 0;
  for (const auto& [key, cell] : rows[0].items())
    scalars += key.starts_with("samples_") || key == "profile" ? 0 : 1;
  EXPECT_EQ(names.size(), scalars);
  for (const Json& row : rows) {
    ASSERT_TRUE(std::getline(lines, line));
    const std::vector<std::string> cells = cells_of(line);
    ASSERT_EQ(cells.size(), names.size());
    for (size_t c = 0; c < names.size(); ++c) {
      const Json& cell = row[names[c]];
      if (cell.is_null()) {
        EXPECT_EQ(cells[c], "") << names[c];
      } else if (cell.is_string()) {
        EXPECT_EQ(cells[c], cell.get<std::string>()) << names[c];
      } else {
        EXPECT_EQ(std::stod(cells[c]), cell.get<double>()) << names[c];
      }
    }
  }
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(BenchOutput, MarkdownIsATableAndWhatBelongsToIt) {
  const std::string text = to_text(Fixture().rows(), Format::kMarkdown);
  std::istringstream lines(text);
  std::string line;
  std::vector<std::vector<std::string>> table;
  while (std::getline(lines, line) && line.starts_with("|")) {
    std::vector<std::string> cells;
    std::istringstream parts(line.substr(1));
    for (std::string cell; std::getline(parts, cell, '|');) cells.push_back(cell);
    table.push_back(cells);
  }
  ASSERT_EQ(table.size(), 4U);
  for (const auto& cells : table) EXPECT_EQ(cells.size(), table.front().size());
  EXPECT_THAT(table[2][6], HasSubstr("tg10 @ d4"));
  EXPECT_THAT(table[2][7], HasSubstr("5.83 ± 3.82"));
  EXPECT_THAT(table[2][11], HasSubstr("50 % (25-80)"));
  for (const char* part :
       {"A Processor, kernels avx2, fathom 1.2.3 (abc1234)", "4 streams", "vfmadd, 256 bits",
        "Weights are random: a \"small\", model.", "filled by a prefill", "pp8 1.75", "| linear", "50.0 %"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

Json decoded(const char* model, int64_t depth, double milliseconds, int threads = 2) {
  return {{"model", model},   {"dtype", "bf16"},     {"n_threads", threads},           {"n_gen", 8},
          {"n_depth", depth}, {"cpu_info", "A & B"}, {"median_ts", 1e3 / milliseconds}};
}

int64_t count_of(const std::string& text, const std::string& part) {
  int64_t found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

TEST(DepthChart, EveryModelIsACurveOverItsDepths) {
  Json prefill = decoded("sambay", 0, 1);
  prefill["n_gen"] = 0;
  const std::vector<Json> rows = {decoded("transformer", 0, 4), decoded("transformer", 2048, 6.5),
                                  decoded("sambay", 2048, 5.25), decoded("sambay", 0, 5), prefill};
  const std::string svg = draw_depth_chart(rows);
  EXPECT_EQ(svg.find("<svg"), 0U);
  EXPECT_EQ(count_of(svg, "<path"), 2);
  EXPECT_EQ(count_of(svg, "<circle"), 4 + 1);  // and one in the legend
  for (const char* part :
       {"Time of a decoded token, A &amp; B", "ms, median", ">transformer  6.5", ">sambay  5.25"})
    EXPECT_THAT(svg, HasSubstr(part));
  // The same model on other threads is another curve, and only then do names say threads.
  EXPECT_THAT(draw_depth_chart({decoded("sambay", 0, 4), decoded("sambay", 0, 7, 1)}),
              ::testing::AllOf(HasSubstr("sambay, 2 threads"), HasSubstr("sambay, 1 threads")));
}

}  // namespace
}  // namespace fathom::cli::bench
