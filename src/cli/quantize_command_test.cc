// fathom quantize as a user runs it: its directory is one that other commands take.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "cli/command_testing.h"
#include "plan/testing.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using testing::Outcome;

class QuantizeCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(path_);
    ModelSpec spec = testing_plan::hybrid("sambay", 8);
    spec.max_position_embeddings = 64;
    testing::write_random_model(path_ + "/model", spec);
    std::string text;
    for (int i = 0; i < 400; ++i) text += "line " + std::to_string(i * i) + "\n";
    ASSERT_TRUE(write_file_atomic(path_ + "/text.txt", text).ok());
  }
  void TearDown() override { fs::remove_all(path_); }
  Outcome run(const std::string& arguments, const std::string& streams = "2>&1") const {
    return testing::run_fathom(testing::in_folder(arguments, path_), streams);
  }
  std::string path_ =
      (fs::temp_directory_path() / ("fathom-quantize-" + std::to_string(::getpid()))).string();
};

TEST_F(QuantizeCommand, ReportsSizesErrorsAndWhatTheModelLost) {
  const Outcome made = run(
      "quantize @model --out @int8 --text @text.txt --sequence-length 32 --limit 20 --json", "2>/dev/null");
  ASSERT_EQ(made.code, 0) << made.text;
  const json report = json::parse(made.text);
  EXPECT_EQ(report["text"]["predictions"], 20 * 32);
  EXPECT_GT(report["text"]["kl_mean"], 0);
  EXPECT_LT(report["text"]["kl_mean"], 1e-2);
  EXPECT_LE(report["text"]["kl_mean"], report["text"]["kl_p99"]);
  EXPECT_LE(report["text"]["kl_p99"], report["text"]["kl_max"]);
  EXPECT_GT(report["text"]["top1_agreement"], 0.9);
  EXPECT_NEAR(report["text"]["perplexity"].get<double>() - report["text"]["perplexity_from"].get<double>(),
              report["text"]["perplexity_delta"].get<double>(), 1e-9);
  EXPECT_LT(report["bits_per_weight"], report["bits_per_weight_from"].get<double>() / 2);
  // The perplexities are those that fathom eval finds.
  const auto perplexity = [&](const std::string& model) {
    const Outcome out =
        run("eval " + model +
            " --perplexity @text.txt --sequence-length 32 --limit 20 --quiet --output @report.json");
    EXPECT_EQ(out.code, 0) << out.text;
    const json evaluated = json::parse(*read_file(path_ + "/report.json"));
    EXPECT_EQ(evaluated["config"]["dtype"], model == "@model" ? "f32" : "int8");
    return evaluated["perplexity"]["perplexity"].get<double>();
  };
  EXPECT_NEAR(perplexity("@model"), report["text"]["perplexity_from"].get<double>(), 1e-4);
  EXPECT_NEAR(perplexity("@int8"), report["text"]["perplexity"].get<double>(), 1e-4);
}

TEST_F(QuantizeCommand, ItsDirectoryIsReadAsAnyOther) {
  const Outcome made = run("quantize @model -o @int8 --quiet");
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_THAT(made.text, HasSubstr(" bits per weight"));
  // Quantised on disk or on load: the same text; and another one than float's would be no surprise.
  const std::string flags = " -p hello -n 20 --ignore-eos --temperature 0";
  const Outcome stored = run("generate @int8" + flags), loaded = run("generate @model --dtype int8" + flags);
  EXPECT_EQ(stored.code, 0) << stored.text;
  EXPECT_EQ(stored.text, loaded.text);
  EXPECT_EQ(json::parse(run("generate @int8 --json" + flags).text)["dtype"], "int8");
  EXPECT_EQ(json::parse(run("generate @int8 --dtype bf16 --json" + flags).text)["dtype"], "bf16");
  const json bench = json::parse(run("bench @int8 -p 8 -n 4 -r 1 -o json", "2>/dev/null").text);
  EXPECT_EQ(bench[0]["dtype"], "int8");
  EXPECT_THAT(run("inspect @int8").text, HasSubstr("I8"));
  EXPECT_EQ(run("plan @int8").code, 0);
}

TEST_F(QuantizeCommand, ItsInt4DirectoryIsReadAsAnyOther) {
  const Outcome made =
      run("quantize @model -o @int4 --dtype int4 --group 32 --text @text.txt --sequence-length 32 --limit 20 "
          "--json",
          "2>/dev/null");
  ASSERT_EQ(made.code, 0) << made.text;
  const json report = json::parse(made.text);
  EXPECT_EQ(report["group"], 32);
  EXPECT_GT(report["text"]["kl_mean"], 0);
  EXPECT_LT(report["text"]["kl_mean"], 0.1);
  EXPECT_GT(report["text"]["top1_agreement"], 0.7);
  ASSERT_EQ(run("quantize @model -o @int8 --quiet").code, 0);
  const json int8 = json::parse(run("plan @int8 --json").text),
             int4 = json::parse(run("plan @int4 --json").text);
  EXPECT_EQ(int4["stored_dtype"], "int4");
  EXPECT_LT(int4["decode_bytes"]["weights"], int8["decode_bytes"]["weights"]);
  const std::string flags = " -p hello -n 20 --ignore-eos --temperature 0";
  const Outcome stored = run("generate @int4" + flags);
  EXPECT_EQ(stored.code, 0) << stored.text;
  EXPECT_EQ(json::parse(run("generate @int4 --json" + flags).text)["dtype"], "int4");
  // Quantised on disk or on load: the same text, in the usual groups.
  ASSERT_EQ(run("quantize @model -o @usual --dtype int4 --quiet").code, 0);
  EXPECT_EQ(run("generate @usual" + flags).text, run("generate @model --dtype int4" + flags).text);
  const json bench = json::parse(run("bench @int4 -p 8 -n 4 -r 1 -o json", "2>/dev/null").text);
  EXPECT_EQ(bench[0]["dtype"], "int4");
  EXPECT_LE(bench[0]["model_size"], report["bytes_to"]);
  const Outcome evaluated =
      run("eval @int4 --perplexity @text.txt --sequence-length 32 --limit 20 --quiet --output @report.json");
  EXPECT_EQ(evaluated.code, 0) << evaluated.text;
  const json perplexity = json::parse(*read_file(path_ + "/report.json"));
  EXPECT_NEAR(perplexity["perplexity"]["perplexity"].get<double>(),
              report["text"]["perplexity"].get<double>(), 1e-4);
}

TEST_F(QuantizeCommand, WithinABudgetOfBitsSomeMatricesStayInt8) {
  const std::string text = " --text @text.txt --sequence-length 32 --limit 2 --json";
  const Outcome made = run("quantize @model -o @mixed --dtype int4 --bits 7.5" + text, "2>/dev/null");
  ASSERT_EQ(made.code, 0) << made.text;
  int int4 = 0, int8 = 0;
  const json report = json::parse(made.text);
  for (const json& tensor : report["tensors"]) {
    int4 += tensor["to"] == "int4";
    int8 += tensor["to"] == "int8";
  }
  EXPECT_GT(int4, 3);
  EXPECT_GT(int8, 3);
  const json bench = json::parse(run("bench @mixed -p 0 -n 2 -r 1 -o json", "2>/dev/null").text);
  EXPECT_LE(bench[0]["bits_per_weight"], 7.5);
  EXPECT_GT(bench[0]["bits_per_weight"], 6.5);
  EXPECT_EQ(run("generate @mixed -p hello -n 5 --ignore-eos").code, 0);
}

// docs/design/024-type-of-matrices.md
TEST_F(QuantizeCommand, TextIsMadeInTheTypeThatIsStoredAndScoresInFloat) {
  ASSERT_EQ(run("convert @model --dtype bf16 --out @half").code, 0);
  ASSERT_EQ(run("quantize @model --out @int8 --quiet").code, 0);
  const auto type_of_text = [&](const std::string& model) {
    return json::parse(run("generate " + model + " -p hello -n 1 --json", "2>/dev/null").text)["dtype"];
  };
  EXPECT_EQ(type_of_text("@model"), "f32");
  EXPECT_EQ(type_of_text("@half"), "bf16");
  EXPECT_EQ(type_of_text("@int8"), "int8");
  EXPECT_EQ(type_of_text("@half --dtype f32"), "f32");
  EXPECT_THAT(run("generate --help").text, HasSubstr("int4, int8 or bf16 if they are stored so, else f32"));
  const Outcome scored =
      run("eval @half --perplexity @text.txt --sequence-length 32 --limit 2 --quiet --json", "2>/dev/null");
  ASSERT_EQ(scored.code, 0) << scored.text;
  EXPECT_EQ(json::parse(scored.text)["config"]["dtype"], "f32");
}

// The model's longest context is 64 tokens.
TEST_F(QuantizeCommand, ASequenceBeyondTheModelsLongestIsSaid) {
  const auto said = [&](const std::string& length) {
    const Outcome made = run("quantize @model --out @int8-" + length +
                                 " --quiet --text @text.txt --limit 1 --sequence-length " + length,
                             "2>&1 >/dev/null");
    EXPECT_EQ(made.code, 0) << made.text;
    return made.text;
  };
  EXPECT_EQ(said("65"), "fathom quantize: --sequence-length 65 is beyond the model's longest, 64\n");
  EXPECT_EQ(said("64"), "");
}

TEST_F(QuantizeCommand, NamesThatAreNoUtf8AreReplacedInJson) {
  const Outcome made = run("quantize @model --out '@int8\xff' --json", "2>/dev/null");
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_EQ(json::parse(made.text)["out"], path_ + "/int8\xEF\xBF\xBD");
}

TEST_F(QuantizeCommand, RefusesInOneSentence) {
  ASSERT_EQ(run("quantize @model --out @int8 --quiet").code, 0);
  const struct {
    std::string arguments;
    int code;
    std::string sentence;
  } rows[] = {
      {"quantize @model --out @int8", 1, "@int8 is already there"},
      {"quantize @int8 --out @again --quiet", 1, "@int8: the matrices are int8 already"},
      {"quantize @model --out @again --limit 3", 2, "--limit is for --text"},
      {"quantize @model --out @again --group 32", 2, "--group is for --dtype int4"},
      {"quantize @model --out @again --bits 5", 2,
       "--bits is for --dtype int4 with a --text that shows which matrices stay int8"},
      {"quantize @model --out @again --text @none.txt --quiet", 1,
       "@none.txt: neither a file nor a directory"},
      {"quantize @model --out @again --text @text.txt --sequence-length 100000 --quiet", 1,
       "the data holds 4338 tokens, not even one row of 100001"},
      {"convert @int8 --out @again", 1,
       "@int8: the matrices are int8, from which none of the values they were made "
       "of come back; expected the model that was quantised"},
  };
  for (const auto& row : rows) {
    const Outcome outcome = run(row.arguments);
    EXPECT_EQ(outcome.code, row.code) << row.arguments;
    EXPECT_EQ(outcome.text, "fathom: " + testing::in_folder(row.sentence, path_) + "\n");
    EXPECT_FALSE(fs::exists(path_ + "/again"));
  }
}

}  // namespace
}  // namespace fathom::cli
