// fathom bench as a user runs it: the rows it prints, and what it refuses in one sentence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/model_directory.h"
#include "plan/naming.h"
#include "plan/spec_io.h"
#include "plan/work.h"
#include "weights/checkpoint.h"

namespace fathom {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  int code = -1;
  std::string text;
};

// `streams` chooses what is caught: "2>&1", "2>/dev/null".
Outcome fathom_bench(const std::string& arguments, const std::string& streams) {
  Outcome outcome;
  FILE* pipe = ::popen((FATHOM_BIN_DIR "/fathom bench " + arguments + " " + streams).c_str(), "r");
  std::array<char, 4096> buffer;
  for (size_t got; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    outcome.text.append(buffer.data(), got);
  outcome.code = WEXITSTATUS(::pclose(pipe));
  return outcome;
}

ModelPlan built_in(const std::string& name) {
  return *build_plan(*load_spec(std::string(FATHOM_SOURCE_DIR) + "/configs/models/" + name + ".toml"));
}

TEST(BenchCommand, MeasuresEveryModelTestAndDepth) {
  const Outcome outcome = fathom_bench(
      "tiny/llama -p 8 -n 4 -d 0,16 -r 2 -t 2 --dtype f32 tiny/sambay --fill random -o json", "2>&1");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const nlohmann::json rows = nlohmann::json::parse(outcome.text);
  ASSERT_EQ(rows.size(), 8U);
  size_t i = 0;
  for (const char* model : {"llama", "sambay"}) {
    const ModelPlan plan = built_in(std::string("tiny/") + model);
    for (int64_t depth : {0, 16}) {
      for (int64_t tokens : {8, 4}) {
        const nlohmann::json& row = rows[i++];
        const bool decodes = tokens == 4;
        const std::string name = (decodes ? "tg4" : "pp8") + std::string(depth > 0 ? " @ d16" : "");
        SCOPED_TRACE(std::string(model) + " " + name);
        EXPECT_EQ(row["model"], model);
        EXPECT_EQ(row["test"], name);
        EXPECT_EQ(row["weights"], "random");
        EXPECT_EQ(row["model_n_params"], count_parameters(plan).unique);
        EXPECT_EQ(row["model_size"], 4 * count_parameters(plan).unique);
        EXPECT_EQ(row["n_threads"], 2);
        EXPECT_EQ(row["samples_ts"].size(), 2U);
        EXPECT_GT(row["avg_ts"], 0);
        EXPECT_GT(row["share_median"], 0);
        const int64_t logit_rows = decodes ? 4 : 1;
        EXPECT_NEAR(row["flops_per_token"].get<double>() * static_cast<double>(tokens),
                    count_prefill_work(plan, depth, depth + tokens, logit_rows).total(), 1e-3);
        if (decodes) {
          EXPECT_NEAR(row["bytes_per_token"],
                      count_decode_bytes(plan, depth, depth + 4, DType::kF32, DType::kBF16).total(), 1e-3);
        }
        EXPECT_EQ(row["depth_fill"], depth > 0 ? nlohmann::json("random") : nlohmann::json());
      }
    }
  }
}

TEST(BenchCommand, MarkdownIsTheDefaultAndProfilesAddTables) {
  const Outcome outcome = fathom_bench("tiny/mor-cycle-nr2 -p 0 -n 3 -r 1 --profile", "2>&1");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, StartsWith("| model"));
  for (const char* part :
       {" tg3 |", "Mean recursion depth: mor-cycle-nr2 tg3", "share of time", "| router", "| between ops"}) {
    EXPECT_THAT(outcome.text, HasSubstr(part));
  }
}

TEST(BenchCommand, ReadsAModelDirectory) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("fathom-bench-" + std::to_string(::getpid()))).string();
  const ModelPlan plan = built_in("tiny/llama");
  std::vector<std::vector<float>> values;
  for (const Param& param : plan.params) values.emplace_back(static_cast<size_t>(elements_of(param)), 0.01F);
  std::vector<std::vector<uint8_t>> storage;
  ModelDirectoryContent content;
  content.config = nlohmann::ordered_json::parse(write_config_json(plan.spec));
  content.tensors = checkpoint_views(
      plan, naming_of(plan), DType::kF32,
      [&](int32_t p) { return std::span<const float>(values[static_cast<size_t>(p)]); }, storage);
  ASSERT_TRUE(write_model_directory(path, content).ok());
  const Outcome outcome = fathom_bench(path + " -p 4 -n 0 -r 1 -o jsonl --progress", "2>/dev/null");
  std::filesystem::remove_all(path);
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const nlohmann::json row = nlohmann::json::parse(outcome.text);
  EXPECT_EQ(row["weights"], "checkpoint");
  EXPECT_EQ(row["model_filename"], path);
}

TEST(BenchCommand, DrawsTimeOverDepthOfAllModels) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("fathom-bench-" + std::to_string(::getpid()) + ".svg"))
          .string();
  const Outcome outcome = fathom_bench(
      "tiny/llama tiny/sambay -p 0 -n 2 -d 0,16 --fill random -r 1 -o jsonl --plot " + path, "2>&1");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  std::ifstream file(path);
  const std::string svg((std::istreambuf_iterator<char>(file)), {});
  std::filesystem::remove(path);
  EXPECT_THAT(svg, StartsWith("<svg"));
  for (const char* part : {">llama  ", ">sambay  ", "tokens of context before it"})
    EXPECT_THAT(svg, HasSubstr(part));
}

TEST(BenchCommand, MeasuresEveryTypeOfMatrices) {
  const Outcome outcome = fathom_bench("tiny/sambay -p 0 -n 4 -r 1 --dtype bf16,int8 -o json", "2>&1");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const nlohmann::json rows = nlohmann::json::parse(outcome.text);
  ASSERT_EQ(rows.size(), 2U);
  const ModelPlan plan = built_in("tiny/sambay");
  size_t i = 0;
  for (DType type : {DType::kBF16, DType::kI8}) {
    const nlohmann::json& row = rows[i++];
    EXPECT_EQ(row["dtype"], std::string(name_of(type)));
    EXPECT_EQ(row["model_size"], count_weight_bytes(plan, type));
    EXPECT_NEAR(row["bytes_per_token"], count_decode_bytes(plan, 0, 4, type, DType::kBF16).total(), 1e-3);
  }
  EXPECT_NE(rows[0]["gemm_loop"], rows[1]["gemm_loop"]);
}

// Of a prompt only the last token comes to the router of a cross-decoder, which made one pass or two.
TEST(BenchCommand, CountsPassesOfTheTokensThatCameToTheRouter) {
  const auto measure = [](const std::string& flags) {
    const Outcome outcome = fathom_bench("tiny/mor-sambay -p 16 -n 0 -r 1 -o json " + flags, "2>&1");
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    return nlohmann::json::parse(outcome.text)[0];
  };
  const nlohmann::json row = measure("");
  const double depth = row["mean_depth"];
  EXPECT_TRUE(depth == 1 || depth == 2) << depth;
  const std::vector<double> shares(static_cast<size_t>(depth), 1.0);
  const ModelPlan plan = with_depth_shares(built_in("tiny/mor-sambay"), shares);
  EXPECT_NEAR(row["flops_per_token"].get<double>() * 16, count_prefill_work(plan, 0, 16, 1).total(), 1e-3);
  EXPECT_EQ(row["prefill_shortcut"], "on");
  const nlohmann::json all = measure("--no-prefill-shortcut");
  EXPECT_EQ(all["prefill_shortcut"], "off");
  EXPECT_GT(all["flops_per_token"], row["flops_per_token"]);
  // All 16 tokens came to the router, and those that made a second pass are some of them.
  const double sixteenths = 16 * all["mean_depth"].get<double>();
  EXPECT_NEAR(sixteenths, std::round(sixteenths), 1e-9);
  EXPECT_GT(sixteenths, 16);
  EXPECT_LT(sixteenths, 32);
}

TEST(BenchCommand, WhatWasMeasuredIsPrintedWhateverComesAfterIt) {
  const Outcome rows = fathom_bench("tiny/llama no-such-model -p 0 -n 2 -r 1 -o json", "2>/dev/null");
  EXPECT_EQ(rows.code, 1);
  EXPECT_EQ(nlohmann::json::parse(rows.text).size(), 1U);
  // A name that fits, but not with the ending of a file that is being written.
  const Outcome table =
      fathom_bench("tiny/llama -p 0 -n 2 -r 1 --plot /tmp/" + std::string(250, 'x'), "2>&1");
  EXPECT_EQ(table.code, 1);
  EXPECT_THAT(table.text, StartsWith("| model"));
  EXPECT_THAT(table.text, HasSubstr("File name too long"));
}

// Two states of a thousand million tokens: 250 TiB, which no machine has.
TEST(BenchCommand, RefusesADepthThatNoMemoryHolds) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("fathom-bench-" + std::to_string(::getpid()) + ".toml"))
          .string();
  std::ofstream(path) << "architecture = \"llama\"\nvocab_size = 97\nhidden_size = 8\nintermediate_size = 8\n"
                         "num_hidden_layers = 32\nnum_attention_heads = 8\nnum_key_value_heads = 8\n"
                         "head_dim = 128\n";
  const Outcome outcome = fathom_bench(path + " -p 0 -n 1 -d 1000000000 --fill random", "2>&1");
  std::filesystem::remove(path);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.text, StartsWith("fathom: " + path + ": states and scratch memory need about 2500"));
  EXPECT_THAT(outcome.text, EndsWith(" MiB are free; use a smaller -d, -p, --n-parallel or --chunk\n"));
}

TEST(BenchCommand, StopsBetweenRepetitions) {
  const std::string said =
      (std::filesystem::temp_directory_path() / ("fathom-bench-said-" + std::to_string(::getpid()))).string();
  const int status =
      std::system((FATHOM_BIN_DIR "/fathom bench tiny/llama -p 8 -n 0 -t 1 -r 10000 --progress 2>" + said +
                   " >/dev/null & child=$!; until grep -q 'repetition 2 ' " + said +
                   " 2>/dev/null; do sleep 0.01; done; kill -TERM $child; wait $child")
                      .c_str());
  std::ifstream file(said);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  std::filesystem::remove(said);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_THAT(text, HasSubstr("stopping: what has not had all its repetitions is not printed; "));
}

TEST(BenchCommand, ServesALoad) {
  const std::string load =
      "tiny/llama tiny/sambay --requests 6 --max-concurrency 2 --random-prefix-len 3 --random-input-len 12 "
      "--random-output-len 5 --random-range-ratio 0.5 --seed 4 --memory 8MiB --chunk 8 -t 2 ";
  const Outcome outcome = fathom_bench(load + "-o json", "2>&1");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const nlohmann::json rows = nlohmann::json::parse(outcome.text);
  ASSERT_EQ(rows.size(), 2U);
  for (const nlohmann::json& row : rows) {
    EXPECT_EQ(row["test"], "serve6");
    EXPECT_EQ(row["completed"], 6);
    EXPECT_EQ(row["stopped"], false);
    EXPECT_EQ(row["memory"], 8 << 20);
    EXPECT_EQ(row["max_running"], 2);
    // Lengths follow from the seed, whatever the model.
    EXPECT_EQ(row["total_input_tokens"], rows[0]["total_input_tokens"]);
    EXPECT_EQ(row["total_output_tokens"], rows[0]["total_output_tokens"]);
    EXPECT_GE(row["total_input_tokens"], 6 * 9);
    EXPECT_LE(row["total_input_tokens"], 6 * 21);
    for (const char* key :
         {"request_throughput", "mean_ttft_ms", "p99_itl_ms", "p50_e2el_ms", "state_bytes_max"})
      EXPECT_GT(row[key], 0) << key;
    EXPECT_GE(row["max_e2el_ms"], row["max_ttft_ms"]);
  }
  const Outcome table = fathom_bench(load, "2>/dev/null");
  ASSERT_EQ(table.code, 0);
  EXPECT_THAT(table.text, StartsWith("| model"));
  EXPECT_THAT(table.text, HasSubstr("| time to first token "));
}

// The second request comes after a quarter of an hour, about.
TEST(BenchCommand, AServingRunThatIsStoppedPrintsWhatWasMeasured) {
  const std::string base =
      (std::filesystem::temp_directory_path() / ("fathom-bench-serve-" + std::to_string(::getpid())))
          .string();
  const std::string said = base + ".said", printed = base + ".printed";
  const int status =
      std::system((FATHOM_BIN_DIR "/fathom bench tiny/llama --requests 5 --request-rate 0.001 --memory 8MiB "
                                  "-t 1 --progress 2>" +
                   said + " >" + printed + " & child=$!; until grep -q '5 requests' " + said +
                   " 2>/dev/null; do sleep 0.01; done; kill -TERM $child; wait $child")
                      .c_str());
  const auto text_of = [](const std::string& path) {
    std::ifstream file(path);
    std::string text(std::istreambuf_iterator<char>(file), {});
    std::filesystem::remove(path);
    return text;
  };
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_THAT(text_of(said), HasSubstr("stopping: what was measured so far is printed; "));
  EXPECT_THAT(text_of(printed), HasSubstr(" of 5 requests; figures are of what had been measured."));
}

TEST(BenchCommand, RefusesInOneSentence) {
  const struct {
    const char* arguments;
    int code;
    const char* message;
  } cases[] = {
      {"", 2, "MODEL is required"},
      {"no-such-model", 1, "no-such-model: no such file or directory, and no built-in model of that name"},
      {"tiny/llama -p 0 -n 0", 2, "-p 0 and -n 0 leave nothing to measure"},
      {"tiny/llama -p 8 -n 0 --plot x.svg", 2, "--plot draws decoding, expected -n above 0"},
      {"tiny/llama -p 8 -n 0 --n-parallel 4", 2, "--n-parallel is about decoding, expected -n above 0"},
      {"tiny/llama -p 8 -n 0 --npl 4", 2, "--n-parallel is about decoding, expected -n above 0"},
      {"tiny/llama -n 1 --n-parallel 1,4 --plot x.svg", 2, "expected --n-parallel 1"},
      {"tiny/llama -n 1 --n-parallel 0", 2, "is not a whole number of 1 to 1024"},
      {"tiny/llama -p -1", 2, "-1"},
      {"tiny/llama -n four", 2, "four"},
      {"tiny/llama -r 0", 2, "0"},
      {"tiny/llama -t -2", 2, "-2"},
      {"tiny/llama -t 4097", 2, "is not a whole number of 0 to 4096"},
      {"tiny/llama -n 100000000000000000000", 2, "is not a whole number of 0 to 1073741824"},
      {"tiny/llama -n 1 --plot /no/such/folder/x.svg", 1, "cannot be written to the folder /no/such/folder"},
      {"tiny/llama --dtype f64", 2, "f64"},
      {"tiny/llama --kv-type int8", 2, "int8"},
      {"tiny/llama --rounding reference", 3,
       "where the published code rounds is known of phi4flash, not of llama"},
      {"tiny/phi4flash --rounding reference --dtype int8", 1, "the matrices are int8, expected bf16"},
      {"tiny/llama --state-dtype bf16", 1, "this model has no recurrent layer"},
      {"tiny/llama -o sql", 2, "sql"},
      {"tiny/llama --chunk 0", 2, "0"},
      {"tiny/llama --fill zeros -d 4", 2, "zeros"},
      {"tiny/llama --fill random", 2, "no -d above 0 was given"},
      {"tiny/llama --frobnicate", 2, "--frobnicate"},
      {"tiny/llama --request-rate 2", 2, "--request-rate is about serving, expected --requests"},
      {"tiny/llama --seed 2", 2, "--seed is about serving, expected --requests"},
      {"tiny/llama --requests 2 -p 8", 2,
       "--n-prompt is about tests, not --requests: prompts have --random-input-len tokens"},
      {"tiny/llama --requests 2 --npl 4", 2, "how many are under way is --max-concurrency"},
      {"tiny/llama --requests 2 --profile", 2, "only tests are profiled"},
      {"tiny/llama --requests 0", 2, "is not a whole number of 1 to 1000000"},
      {"tiny/llama --requests 2 --request-rate 0", 2, "'0' is not a finite number above 0 or inf"},
      {"tiny/llama --requests 2 --request-rate -inf", 2, "'-inf' is not a finite number above 0 or inf"},
      {"tiny/llama --requests 2 --random-range-ratio 1", 2, "is not a number of 0 to 0.999"},
      {"tiny/llama --requests 2 --memory 1MiB --prefix-cache 2MiB", 2,
       "--prefix-cache is a part of --memory"},
      {"tiny/llama --requests 2 --memory 1KiB", 1, "but the memory for states has 1024"},
      {"tiny/llama --requests 2 --memory 100TiB", 1, "tiny/llama: --memory: 104857600 MiB for states"},
  };
  for (const auto& c : cases) {
    const Outcome outcome = fathom_bench(c.arguments, "2>&1");
    EXPECT_EQ(outcome.code, c.code) << c.arguments << ": " << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr(c.message));
    EXPECT_THAT(outcome.text, StartsWith("fathom"));
    EXPECT_EQ(std::count(outcome.text.begin(), outcome.text.end(), '\n'), 1) << outcome.text;
    EXPECT_THAT(outcome.text, EndsWith("\n"));
  }
}

}  // namespace
}  // namespace fathom
