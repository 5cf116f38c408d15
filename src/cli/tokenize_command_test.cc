// fathom tokenize as a user runs it: what it prints, and how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "cli/command_testing.h"

namespace fathom {
namespace {

using ::testing::HasSubstr;

struct Output {
  std::string text;  // both streams
  int code = -1;
};

Output run(const std::string& arguments, const std::string& tokenizer = FATHOM_SOURCE_DIR "/data/tokenizer") {
  Output output;
  const std::string command = FATHOM_BIN_DIR "/fathom tokenize --tokenizer " + tokenizer + " " + arguments;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer;
  size_t got = 0;
  while ((got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0)
    output.text.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

std::string written(const std::string& name, const std::string& content) {
  std::string path = (std::filesystem::path(::testing::TempDir()) / name).string();
  EXPECT_TRUE(write_file_atomic(path, content).ok());
  return path;
}

const std::string& corpus() {
  static const std::string kPath = FATHOM_SOURCE_DIR "/data/corpus.valid.txt";
  return kPath;
}

TEST(TokenizeCommand, ThreadsPrintTheSame) {
  for (const char* output : {"--ids", "--count", ""}) {
    const std::string flags = "--file " + corpus() + " " + output;
    const Output one = run(flags + " --threads 1");
    const Output many = run(flags + " --threads 5");
    EXPECT_EQ(one.code, 0);
    EXPECT_FALSE(one.text.empty());
    EXPECT_TRUE(one.text == many.text) << output;
  }
}

TEST(TokenizeCommand, TextsMayEndWithAZeroByteAndHoldLineFeeds) {
  const std::string zeros = written("tokenize_zeros", std::string("one\ntwo\0\0three", 14));
  const std::string lines = written("tokenize_lines", "one\ntwo\n\nthree");
  EXPECT_THAT(run("--count --null --file " + zeros).text, HasSubstr(" 3 lines, 12 bytes"));
  EXPECT_THAT(run("--count --file " + lines).text, HasSubstr(" 4 lines, 11 bytes"));
  const Output three = run("--ids three");
  EXPECT_THAT(run("--ids -0 --file " + zeros).text, HasSubstr("\n[]\n" + three.text));
  EXPECT_THAT(run("--ids --file " + lines).text, HasSubstr("\n[]\n" + three.text));
}

TEST(TokenizeCommand, BenchTellsEachRoundAndCountsTheSameTokens) {
  const Output bench = run("--bench 2 --threads 2 --file " + corpus());
  const std::string count = run("--count --file " + corpus()).text;
  EXPECT_EQ(bench.code, 0);
  EXPECT_THAT(bench.text, HasSubstr("round 1: "));
  EXPECT_THAT(bench.text, HasSubstr("round 2: "));
  EXPECT_THAT(bench.text, HasSubstr(count.substr(0, count.size() - 1) + ", 2 threads\n"));
  EXPECT_EQ(run("--bench 1 --file " + written("tokenize_empty", "")).code, 1);
}

TEST(TokenizeCommand, BytesAreTokens) {
  EXPECT_EQ(run("--ids 'h\xc3\xa9'", "bytes").text, "[104, 195, 169]\n");
  EXPECT_EQ(run("hi", "bytes").text, "104\t\"h\"\n105\t\"i\"\n");
  EXPECT_EQ(run("--count --file " + written("tokenize_bytes", std::string("a\xff\nbc")), "bytes").text,
            "4 tokens, 2 lines, 4 bytes\n");
  for (const char* flags : {"--decode", "--decode --special"})
    EXPECT_EQ(run(std::string(flags) + " '[104, 195, 169, 256]'", "bytes").text, "h\xc3\xa9\n");
  EXPECT_EQ(run("--decode '[257]'", "bytes").code, 1);
}

TEST(TokenizeCommand, RefusesFlagsThatContradictEachOther) {
  for (const char* flags :
       {"--bench 0 text", "--bench 1 --ids text", "--decode --threads 2", "--null text", "--threads -1 text",
        "--decode --null", "--bench 100000000000000000000 text", "--out x text"}) {
    EXPECT_EQ(run(flags).code, 2) << flags;
  }
  const int status = std::system(FATHOM_BIN_DIR "/fathom tokenize text 2>/dev/null");
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << "neither --tokenizer nor --train";
}

TEST(TokenizeCommand, LearningRefusesWhatItCannotUse) {
  const std::string text = written("tokenize_refused", "one two one two one two"),
                    empty = written("tokenize_no_text", ""),
                    folder = (std::filesystem::path(::testing::TempDir()) / "tokenize_taken").string();
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(write_file_atomic(folder + "/tokenizer_config.json", "kept").ok());
  const std::string train = "tokenize --train " + text + " -o ";
  const struct {
    std::string arguments;
    int code;
    std::string sentence;
  } cases[] = {
      {train + folder, 1, folder + "/tokenizer_config.json is already there"},
      {train + text, 1, text + " is a file, expected a folder for the tokenizer"},
      {"tokenize --train " + empty + " -o " + folder + "_new", 1,
       empty + ": no text, expected some to learn from"},
      {train + folder + "_new --vocab-size 10", 2, "a vocabulary of 10 was asked for, expected 257"},
      {train + folder + "_new --vocab-size 99999999", 2, "a vocabulary of 99999999 was asked for"},
      {train + folder + "_new --special-token ''", 2, "special token \"\" must be two or more printable"},
  };
  for (const auto& [arguments, code, sentence] : cases) {
    const cli::testing::Outcome outcome = cli::testing::run_fathom(arguments);
    EXPECT_EQ(outcome.code, code) << arguments;
    EXPECT_THAT(outcome.text, HasSubstr("fathom: " + sentence));
  }
  EXPECT_EQ(*read_file(folder + "/tokenizer_config.json"), "kept");
  EXPECT_FALSE(std::filesystem::exists(folder + "/tokenizer.json"));
  EXPECT_FALSE(std::filesystem::exists(folder + "_new"));
  // A folder without these files takes them.
  std::filesystem::remove(folder + "/tokenizer_config.json");
  EXPECT_EQ(cli::testing::run_fathom(train + folder).code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder + "/tokenizer.json"));
  std::filesystem::remove_all(folder);
}

TEST(TokenizeCommand, WhatWasLearntIsATokenizer) {
  const std::string text = written("tokenize_learn", "one two one two one two"),
                    folder = (std::filesystem::path(::testing::TempDir()) / "tokenize_learnt").string();
  const int status =
      std::system((FATHOM_BIN_DIR "/fathom tokenize --train " + text + " --vocab-size 300 -o " + folder +
                   " && " FATHOM_BIN_DIR "/fathom tokenize --tokenizer " + folder + " -f " + text)
                      .c_str());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace fathom
