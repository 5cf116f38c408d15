// fathom pack as a user runs it: what it writes is the text again.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "cli/command_testing.h"
#include "data/token_stream.h"

namespace fathom::cli::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(PackCommand, TheFilesHoldTheDocumentsOneAfterAnother) {
  const std::string folder =
      (fs::temp_directory_path() / ("fathom-pack-" + std::to_string(::getpid()))).string();
  fs::create_directories(folder);
  ASSERT_TRUE(write_file_atomic(folder + "/a.txt", "one\n--\ntwo and three\n--\nfour").ok());
  const std::string command =
      in_folder("pack @a.txt --out @packed/part --tokens-per-file 8 --document-separator=--", folder);
  const Outcome made = run_fathom(command);
  EXPECT_EQ(made.code, 0) << made.text;
  EXPECT_THAT(made.text, HasSubstr("23 tokens of 3 documents in 3 files"));
  std::string text;
  for (const char* file : {"0", "1", "2"}) {
    const auto ids = TokenFile::open_any(folder + "/packed/part_000000000" + file + ".bin", 257, 256);
    ASSERT_TRUE(ids.ok()) << ids.error().message;
    EXPECT_EQ(ids->tokens(), 8);
    for (int64_t i = 0; i < 8; ++i)
      text += ids->token(i) == 256 ? std::string("|") : std::string(1, static_cast<char>(ids->token(i)));
  }
  EXPECT_EQ(text, "one|two and three|four||");

  const Outcome again = run_fathom(command);
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.text, HasSubstr("part_0000000000.bin exists already; choose another --out"));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace fathom::cli::testing
