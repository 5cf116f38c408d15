// fathom init as a user runs it: what it writes is a model that other commands take.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/json.h"
#include "cli/command_testing.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Outcome;

class InitCommand : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(path_); }
  void TearDown() override { fs::remove_all(path_); }
  Outcome run(const std::string& arguments) const {
    return testing::run_fathom(testing::in_folder(arguments, path_));
  }
  std::string path_ =
      (fs::temp_directory_path() / ("fathom-init-test-" + std::to_string(::getpid()))).string();
};

TEST_F(InitCommand, MakesAModelInThePublishedLayout) {
  const Outcome made = run("init --plan tiny/phi4flash --out @phi --seed 3");
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_THAT(made.text, HasSubstr("matrices in bf16"));
  const nlohmann::json config = *read_json_file(path_ + "/phi/config.json");
  EXPECT_EQ(config["model_type"], "phi4flash");
  EXPECT_EQ(config["architectures"][0], "Phi4FlashForCausalLM");
  const Outcome listed = run("inspect @phi");
  EXPECT_EQ(listed.code, 0) << listed.text;
  EXPECT_THAT(listed.text, HasSubstr("model.layers.1.attn.inner_cross_attn.subln.weight"));
  const Outcome again = run("init tiny/phi4flash --out @phi");
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.text, HasSubstr("is already there"));
  // The same seed, the same bytes.
  ASSERT_EQ(run("init tiny/phi4flash --out @same --seed 3").code, 0);
  ASSERT_EQ(run("init tiny/phi4flash --out @other --seed 4").code, 0);
  const auto weights = [&](const char* name) {
    return *read_file(path_ + "/" + name + "/model.safetensors");
  };
  EXPECT_EQ(weights("phi"), weights("same"));
  EXPECT_NE(weights("phi"), weights("other"));
}

TEST_F(InitCommand, RefusesInOneSentence) {
  const std::pair<const char*, const char*> cases[] = {
      {"init nothing --out @x", "nothing"},
      {"init tiny/mor-dora --out @x", "starts from other parameters; training makes it"},
      {"init tiny/sambay --out @x --tokenizer " FATHOM_SOURCE_DIR "/data/tokenizer",
       "more than the model's vocabulary of 97"},
      {"init tiny/sambay", "--out"},
  };
  for (const auto& [arguments, sentence] : cases) {
    const Outcome outcome = run(arguments);
    EXPECT_NE(outcome.code, 0) << arguments;
    EXPECT_THAT(outcome.text, HasSubstr(sentence)) << arguments;
    EXPECT_FALSE(fs::exists(path_ + "/x"));
  }
}

}  // namespace
}  // namespace fathom::cli
