// fathom init as a user runs it: what it writes is a model that other commands take.
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

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
  ASSERT_EQ(run("init tiny/phi4flash --out @largest --seed 18446744073709551615").code, 0);
  EXPECT_NE(weights("largest"), weights("other"));
  EXPECT_EQ(weights("phi"), weights("same"));
  EXPECT_NE(weights("phi"), weights("other"));
}

TEST_F(InitCommand, ATokenizerMayBeAFolderAFileOrBytes) {
  const std::string tokenizer = FATHOM_SOURCE_DIR "/data/tokenizer";
  std::ofstream(path_ + "/spec.toml") << "architecture = \"llama\"\nvocab_size = 4096\nhidden_size = 32\n"
                                         "intermediate_size = 48\nnum_hidden_layers = 2\n"
                                         "num_attention_heads = 4\nnum_key_value_heads = 2\n"
                                         "max_position_embeddings = 64\n";
  for (const auto& [out, source] :
       {std::pair{"folder", tokenizer}, std::pair{"file", tokenizer + "/tokenizer.json"}}) {
    const Outcome made = run("init @spec.toml -q -o @" + std::string(out) + " --tokenizer " + source);
    ASSERT_EQ(made.code, 0) << made.text;
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
      EXPECT_TRUE(fs::exists(path_ + "/" + out + "/" + name)) << out << " " << name;
  }
  const Outcome other = run("init @spec.toml --tokenizer bytes --out @bytes");
  EXPECT_EQ(other.code, 1);
  EXPECT_EQ(other.text,
            "fathom: --tokenizer bytes: a model directory without a tokenizer is one of bytes if its "
            "vocabulary has 257 entries, this one's has 4096\n");
  std::ofstream(path_ + "/bytes.toml") << "architecture = \"llama\"\nvocab_size = 257\nhidden_size = 32\n"
                                          "intermediate_size = 48\nnum_hidden_layers = 2\n"
                                          "num_attention_heads = 4\nnum_key_value_heads = 2\n"
                                          "max_position_embeddings = 64\n";
  ASSERT_EQ(run("init @bytes.toml --tokenizer bytes --out @bytes").code, 0);
  EXPECT_EQ(run("generate @bytes -p a -n 2").code, 0);
}

TEST_F(InitCommand, TheProgressOfASmallModelIsOneLine) {
  const Outcome made = testing::run_fathom("init tiny/phi4flash --out " + path_ + "/a", "2>&1 >/dev/null");
  ASSERT_EQ(made.code, 0) << made.text;
  EXPECT_EQ(std::count(made.text.begin(), made.text.end(), '\n'), 1) << made.text;
  EXPECT_EQ(made.text.find("weights "), 0U) << made.text;
  EXPECT_EQ(made.text.find("weights 0/"), std::string::npos) << made.text;
  const Outcome quiet =
      testing::run_fathom("init tiny/phi4flash --quiet --out " + path_ + "/b", "2>&1 >/dev/null");
  EXPECT_EQ(quiet.text, "");
}

TEST_F(InitCommand, TakesOneSpecification) {
  const Outcome none = run("init --out @x"), both = run("init tiny/sambay --plan tiny/sambay --out @x");
  EXPECT_EQ(none.code, 2);
  EXPECT_EQ(none.text, "fathom: init needs SPEC, a file or the name of a built-in specification\n");
  EXPECT_EQ(both.code, 2);
  EXPECT_EQ(both.text, "fathom: SPEC and --plan exclude each other\n");
  EXPECT_FALSE(fs::exists(path_ + "/x"));
  // Of the three, --out alone is always needed.
  const std::string help = run("init --help").text;
  EXPECT_EQ(help.find("REQUIRED"), help.rfind("REQUIRED")) << help;
  EXPECT_THAT(help, HasSubstr("--out TEXT REQUIRED"));
}

TEST_F(InitCommand, RefusesInOneSentence) {
  const std::pair<const char*, const char*> cases[] = {
      {"init nothing --out @x", "nothing"},
      {"init tiny/mor-dora --out @x", "starts from other parameters; training makes it"},
      {"init tiny/sambay --out @x --tokenizer " FATHOM_SOURCE_DIR "/data/tokenizer",
       "more than the model's vocabulary of 97"},
      {"init tiny/sambay", "--out"},
      {"init tiny/sambay --out @x --seed 18446744073709551616",
       "is not a whole number of at least 0 and below 2^64"},
      {"init tiny/sambay --out @x --threads 5000", "is not a whole number of 0 to 4096"},
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
