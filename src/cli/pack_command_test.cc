// fathom pack as a user runs it: what it writes is the text again.
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "cli/command_testing.h"
#include "data/token_stream.h"

namespace fathom::cli::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class PackCommand : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_ + "/packed"); }
  void TearDown() override { fs::remove_all(folder_); }
  Outcome run(const std::string& arguments) const { return run_fathom(in_folder(arguments, folder_)); }
  void write(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(write_file_atomic(folder_ + "/" + name, text).ok());
  }
  std::vector<std::string> packed() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ + "/packed"))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }
  std::string folder_ = (fs::temp_directory_path() / ("fathom-pack-" + std::to_string(::getpid()))).string();
};

TEST_F(PackCommand, TheFilesHoldTheDocumentsOneAfterAnother) {
  write("a.txt", "one\n--\ntwo and three\n--\nfour");
  const std::string command = "pack @a.txt -o @packed/part --tokens-per-file 8 --document-separator=--";
  const Outcome made = run(command);
  EXPECT_EQ(made.code, 0) << made.text;
  EXPECT_THAT(made.text, HasSubstr("23 tokens of 3 documents in 3 files"));
  std::string text;
  for (const char* file : {"0", "1", "2"}) {
    const auto ids = TokenFile::open_any(folder_ + "/packed/part_000000000" + file + ".bin", 257, 256);
    ASSERT_TRUE(ids.ok()) << ids.error().message;
    EXPECT_EQ(ids->tokens(), 8);
    for (int64_t i = 0; i < 8; ++i)
      text += ids->token(i) == 256 ? std::string("|") : std::string(1, static_cast<char>(ids->token(i)));
  }
  EXPECT_EQ(text, "one|two and three|four||");

  // The first file alone does not say whether there are others.
  for (const char* first : {"0", "1"}) {
    const Outcome again = run(command);
    EXPECT_EQ(again.code, 1);
    EXPECT_THAT(again.text, HasSubstr("part_000000000" + std::string(first) +
                                      ".bin exists already; choose another name for the files"));
    fs::remove(folder_ + "/packed/part_000000000" + first + ".bin");
  }
  EXPECT_EQ(packed(), (std::vector<std::string>{"part_0000000002.bin"}));
  // Other names are no files of this packing.
  EXPECT_EQ(run("pack @a.txt -o @packed/par").code, 0);
}

TEST_F(PackCommand, TheFilesAreTheSameForAnyNumberOfThreads) {
  std::string lines;
  for (int i = 0; i < 20'000; ++i)
    lines +=
        "{\"text\": \"" + std::string(static_cast<size_t>(i % 90), static_cast<char>('a' + i % 26)) + "\"}\n";
  write("a.jsonl", lines);
  write("b.txt", std::string(3'000'000, 'x'));
  for (const char* threads : {"1", "4"}) {
    const Outcome made = run("pack @a.jsonl @b.txt @a.jsonl -o @packed/" + std::string(threads) +
                             " --tokens-per-file 700000 -t " + threads);
    EXPECT_EQ(made.code, 0) << made.text;
    EXPECT_THAT(made.text, HasSubstr(" tokens of 40001 documents in 7 files"));
  }
  for (const char* file : {"0", "1", "2", "3", "4", "5", "6"}) {
    const std::string ending = "_000000000" + std::string(file) + ".bin";
    EXPECT_TRUE(*read_file(folder_ + "/packed/1" + ending) == *read_file(folder_ + "/packed/4" + ending))
        << file;
  }
}

TEST_F(PackCommand, ErrorsNameFileAndLineForAnyNumberOfThreads) {
  write("a.jsonl", "{\"text\": \"one\"}\n\n{\"text\": 2}\n");
  for (const char* threads : {"1", "3"}) {
    const Outcome failed = run("pack @a.jsonl -o @packed/part --threads " + std::string(threads));
    EXPECT_EQ(failed.code, 1);
    EXPECT_THAT(failed.text, HasSubstr("a.jsonl, line 3: \"text\" is an integer, expected a string"));
  }
}

TEST_F(PackCommand, WhatFailsLeavesNothing) {
  write("a.txt", "a text of more than eight bytes");
  write("b.jsonl", "{\"text\": \"another text of more than eight bytes\"}\nno JSON\n");
  const Outcome failed = run("pack @a.txt @b.jsonl -o @packed/part --tokens-per-file 8");
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.text, HasSubstr("b.jsonl"));
  EXPECT_EQ(packed(), std::vector<std::string>());
}

TEST_F(PackCommand, TheNameOfTheFilesIsNotEmpty) {
  write("a.txt", "a text");
  for (const std::string out : {"", ".", "..", "@packed/", "@packed/.", "@packed/.."}) {
    const Outcome refused = run("pack @a.txt -o '" + out + "'");
    EXPECT_EQ(refused.code, 2) << out;
    EXPECT_EQ(refused.text, "fathom pack: --out: '" + in_folder(out, folder_) +
                                "' does not end in a name, expected one as in data/train; fathom pack --help "
                                "lists what there is\n");
  }
  EXPECT_EQ(packed(), std::vector<std::string>());
  EXPECT_EQ(run("pack @a.txt -o @packed/.hidden").code, 0);
}

TEST_F(PackCommand, TextWithoutADocumentIsRefused) {
  write("a.jsonl", "\n");
  write("a.txt", "--\n--\n");
  const Outcome refused = run("pack @a.jsonl @a.txt -o @packed/part --document-separator=--");
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.text, "fathom: the text holds no document, expected at least one\n");
  const Outcome separator = run("pack @a.txt -o @packed/part --document-separator ''");
  EXPECT_EQ(separator.code, 2);
  EXPECT_THAT(separator.text, HasSubstr("fathom pack: --document-separator: an empty text"));
  EXPECT_EQ(packed(), std::vector<std::string>());
}

TEST_F(PackCommand, WhatIsStoppedLeavesNothing) {
  std::string text;  // many files: more than can be written before the signal comes
  for (int i = 0; i < 200'000; ++i) text += "a document\n--\n";
  write("a.txt", text);
  const std::string command =
      in_folder(FATHOM_BIN_DIR
                "/fathom pack @a.txt -o @packed/part --tokens-per-file 8 --document-separator=-- "
                "2>@said & child=$!; while ! ls @packed/*/0 >@listed 2>&1; do sleep 0.01; done; "
                "kill -TERM $child; wait $child",
                folder_);
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_THAT(*read_file(folder_ + "/said"), HasSubstr("stopping: nothing is kept"));
  EXPECT_EQ(packed(), std::vector<std::string>());
}

}  // namespace
}  // namespace fathom::cli::testing
