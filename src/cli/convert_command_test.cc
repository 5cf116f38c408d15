// fathom convert as a user runs it: every kind of source gives the same tensors again, what a published
// checkpoint does not say is asked for, and what has no faithful form is refused.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/random.h"
#include "cli/command_testing.h"
#include "io/archive_testing.h"
#include "io/model_directory.h"
#include "plan/naming.h"
#include "plan/spec_io.h"
#include "plan/testing.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

using cli::testing::Outcome;

Outcome run(const std::string& arguments) { return cli::testing::run_fathom(arguments); }

using Bytes = std::map<std::string, std::string>;  // by the tensor's name

Bytes tensors_in(const std::string& path) {
  Bytes out;
  const auto files = WeightFiles::open(path);
  EXPECT_TRUE(files.ok()) << files.error().message;
  if (!files.ok()) return out;
  for (const StoredTensor& stored : files->tensors()) {
    const auto bytes = stored.bytes();
    out[stored.info->name] = std::string(bytes.begin(), bytes.end());
  }
  return out;
}

class ConvertCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("fathom-convert-" + std::to_string(::getpid()))).string();
    fs::create_directories(folder_ + "/source");
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string at(const std::string& name) const { return folder_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(write_file_atomic(at(name), text).ok());
  }

  // source/pytorch_model.bin as torch saves the model: tied names on one storage, as many as `alone` says
  // apart. The second value of each float is that of its index, the rest is noise.
  void write_archive(const ModelSpec& spec, bool bfloat16, const std::string& alone = "") const {
    const ModelPlan plan = *build_plan(spec);
    std::vector<testing_archive::Tensor> tensors;
    std::vector<std::string> storages;
    for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan))) {
      const auto add = [&](const std::string& name, bool own) {
        uint64_t elements = 1;
        for (const int64_t extent : tensor.shape) elements *= static_cast<uint64_t>(extent);
        if (own) {
          std::string data;
          for (uint64_t i = 0; i < elements * (bfloat16 ? 1 : 2); ++i) {
            const float value = normal(9, storages.size(), i);
            data += testing_archive::number(std::bit_cast<uint32_t>(value) >> 16, 2);
          }
          storages.push_back(data);
        }
        testing_archive::Tensor described = {name, std::to_string(storages.size() - 1), elements, {}, {}};
        described.type = bfloat16 ? "BFloat16Storage" : "FloatStorage";
        uint64_t stride = elements;
        for (const int64_t extent : tensor.shape) {
          described.shape.push_back(static_cast<uint64_t>(extent));
          described.strides.push_back(stride /= static_cast<uint64_t>(extent));
        }
        tensors.push_back(described);
      };
      add(tensor.name, true);
      for (const std::string& alias : tensor.aliases) add(alias, alias == alone);
    }
    write("source/pytorch_model.bin",
          testing_archive::archive(testing_archive::state_dict(tensors), storages));
  }
  // The config.json of the authors: that of a Llama, whatever the model is.
  void write_published_config(ModelSpec spec) const {
    spec.sharing = Sharing::kNone;
    spec.num_recursion = 1;
    spec.router.reset();
    spec.tie_word_embeddings = true;
    spec.rope_theta = 10000;
    write("source/config.json", write_config_json(spec));
  }

  std::string folder_;
};

ModelSpec expert() { return testing_plan::tiny_mor(Sharing::kMiddleCycle, 3); }

TEST_F(ConvertCommand, AVanillaArchiveSurvivesEveryConversion) {
  for (const bool bfloat16 : {false, true}) {
    write_archive(testing_plan::tiny(), bfloat16);
    write_published_config(testing_plan::tiny());
    write("source/tokenizer.json", "{}");
    Bytes expected = tensors_in(at("source"));
    expected.erase("lm_head.weight");  // the embedding again
    for (const auto& [from, to, flags] :
         {std::tuple{"source", "ours", ""}, std::tuple{"ours", "hf", " --to hf"},
          std::tuple{"hf", "again", ""}, std::tuple{"ours/model.safetensors", "file", ""}}) {
      const std::string spec = std::string(to) == "file" ? " --spec " + at("ours/config.json") : "";
      const Outcome output = run("convert " + at(from) + " --out " + at(to) + flags + spec);
      ASSERT_EQ(output.code, 0) << output.text;
      EXPECT_EQ(output.text.find(at(to) + ": 74 tensors"), 0U) << output.text;
      const Bytes got = tensors_in(at(to));
      ASSERT_EQ(got.size(), expected.size()) << to;
      for (const auto& [name, bytes] : expected) {
        const bool widened = bfloat16 && name.find("norm") != std::string::npos;
        if (!widened) {
          EXPECT_EQ(got.at(name), bytes) << name;
        }
      }
      EXPECT_EQ(fs::exists(at(to) + std::string("/tokenizer.json")), std::string(to) != "file");
    }
    EXPECT_EQ(tensors_in(at("ours")), tensors_in(at("again")));
    // And in the other type and back: nothing is lost on the way up.
    ASSERT_EQ(run("convert " + at("ours") + " --dtype f32 --out " + at("wide")).code, 0);
    ASSERT_EQ(run("convert " + at("wide") + (bfloat16 ? " --dtype bf16" : "") + " --out " + at("back")).code,
              0);
    EXPECT_EQ(tensors_in(at("back")), tensors_in(at("ours")));
    for (const char* made : {"ours", "hf", "again", "file", "wide", "back"}) fs::remove_all(at(made));
  }
}

TEST_F(ConvertCommand, APublishedMixtureNeedsWhatNoNameSays) {
  write_archive(expert(), false);
  write_published_config(expert());
  const std::string convert = "convert " + at("source") + " --out " + at("ours");
  const std::string routed =
      "the tensors are those of a routed model (expert choice, 3 recursions of 2 layers), ";
  EXPECT_EQ(run(convert).text, "fathom: " + at("source") + ": " + routed +
                                   "and neither config.json nor --spec says router.alpha and router.score\n");
  write("score.toml", "[router]\nscore = \"tanh\"\n");
  EXPECT_EQ(
      run(convert + " --spec " + at("score.toml")).text,
      "fathom: " + at("source") + ": " + routed + "and neither config.json nor --spec says router.alpha\n");
  EXPECT_EQ(run("inspect " + at("source")).code, 0);
  EXPECT_EQ(run("generate " + at("source") + " --prompt x").text,
            "fathom: " + at("source") + ": " + routed +
                "of which its configuration says nothing; `fathom convert --spec` adds what is missing\n");
  write("router.toml", "[router]\nscore = \"tanh\"\nalpha = 0.25\n");
  const Outcome output = run(convert + " --spec " + at("router.toml"));
  ASSERT_EQ(output.code, 0) << output.text;
  ModelSpec expected = build_plan(expert())->spec;
  expected.router->score = ScoreFunction::kTanh;
  expected.router->alpha = 0.25;
  expected.rope_theta = 10000;
  EXPECT_EQ(*load_spec(at("ours")), expected);
  // Stored once each, and the same from there on.
  Bytes stored = tensors_in(at("source"));
  const ModelPlan plan = *build_plan(expert());
  for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan))) {
    for (const std::string& alias : tensor.aliases) stored.erase(alias);
  }
  EXPECT_EQ(tensors_in(at("ours")), stored);
  ASSERT_EQ(run("convert " + at("ours") + " --out " + at("again")).code, 0);
  EXPECT_EQ(tensors_in(at("again")), stored);
  EXPECT_EQ(*read_file(at("again/config.json")), *read_file(at("ours/config.json")));
  // The published configuration beside tensors that are stored once: routers tell the number of recursions.
  fs::remove(at("source/pytorch_model.bin"));
  fs::copy_file(at("ours/model.safetensors"), at("source/model.safetensors"));
  ASSERT_EQ(run("convert " + at("source") + " --spec " + at("router.toml") + " --out " + at("once")).code, 0);
  EXPECT_EQ(tensors_in(at("once")), stored);
  EXPECT_EQ(*read_file(at("once/config.json")), *read_file(at("ours/config.json")));
}

TEST_F(ConvertCommand, WhatIsUntiedInTheFileIsUntiedInTheModel) {
  write_archive(expert(), false, "lm_head.weight");
  write_published_config(expert());
  write("router.toml", "[router]\nscore = \"sigmoid\"\nalpha = 0.1\n");
  const std::string convert = "convert " + at("source") + " --spec " + at("router.toml") + " --out ";
  ASSERT_EQ(run(convert + at("head")).code, 0);
  EXPECT_FALSE(load_spec(at("head"))->tie_word_embeddings);
  EXPECT_TRUE(tensors_in(at("head")).contains("lm_head.weight"));
  write_archive(expert(), false, "model.layers.3.block.1.self_attn.v_proj.weight");
  ASSERT_EQ(run(convert + at("attention")).code, 0);
  EXPECT_FALSE(load_spec(at("attention"))->share_attention);
  EXPECT_TRUE(tensors_in(at("attention")).contains("model.layers.3.block.0.self_attn.q_proj.weight"));
  EXPECT_FALSE(tensors_in(at("attention")).contains("model.layers.3.block.0.mlp.up_proj.weight"));
  const std::string mlp = "model.layers.3.block.1.mlp.up_proj.weight";
  write_archive(expert(), false, mlp);
  EXPECT_EQ(run(convert + at("mlp")).text,
            "fathom: " + at("source") + ": tensors model.layers.1.block.1.mlp.up_proj.weight and " + mlp +
                " are one parameter in this model but hold different values\n");
  EXPECT_FALSE(fs::exists(at("mlp")));
}

TEST_F(ConvertCommand, ARecursionCanBeUnrolledIntoALlama) {
  ModelSpec recursive = testing_plan::tiny_recursive(Sharing::kMiddleCycle, 3);
  recursive.rope_theta = 10000;
  write_archive(recursive, false);
  write("source/config.json", write_config_json(recursive));
  const std::string convert = "convert " + at("source") + " --out " + at("hf") + " --to hf";
  EXPECT_EQ(run(convert).text,
            "fathom: " + at("source") +
                ": transformers has no class for this model; --to hf writes a plain Llama, "
                "and --unroll makes one of a recursion without a router\n");
  ASSERT_EQ(run(convert + " --unroll").code, 0);
  EXPECT_EQ(tensors_in(at("hf")), tensors_in(at("source")));
  const ModelSpec spec = *load_spec(at("hf"));
  EXPECT_EQ(spec.num_hidden_layers, 8);
  EXPECT_FALSE(spec.tie_word_embeddings);
  const auto config = ModelDirectory::open(at("hf"))->config();
  EXPECT_EQ(config["architectures"].dump(), R"(["LlamaForCausalLM"])");
  EXPECT_EQ(config["torch_dtype"], "float32");
}

// A signal as soon as the temporary is there. A machine under load may finish before it comes: then once
// more.
TEST_F(ConvertCommand, WhatIsStoppedLeavesNothing) {
  ModelSpec spec = testing_plan::tiny();
  spec.intermediate_size = 20'000;
  write("big.json", write_config_json(spec));
  ASSERT_EQ(run("init " + at("big.json") + " --out " + at("big") + " --dtype f32 --quiet").code, 0);
  bool stopped = false;
  for (int attempt = 0; attempt < 50 && !stopped; ++attempt) {
    const pid_t child = ::fork();
    if (child == 0) {
      const int said = ::open(at("said").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      ::dup2(said, STDOUT_FILENO);
      ::dup2(said, STDERR_FILENO);
      ::execl(FATHOM_BIN_DIR "/fathom", "fathom", "convert", at("big").c_str(), "--dtype", "bf16", "--out",
              at("made").c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    bool ended = false;
    for (const std::string temporary = at("made.tmp-" + std::to_string(child) + "-0");
         !ended && !fs::exists(temporary);)
      ended = ::waitpid(child, &status, WNOHANG) != 0;
    if (!ended) {
      ::kill(child, SIGINT);
      ASSERT_EQ(::waitpid(child, &status, 0), child);
    }
    ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
    stopped = WEXITSTATUS(status) == 130;
    ASSERT_TRUE(stopped || WEXITSTATUS(status) == 0) << *read_file(at("said"));
    EXPECT_EQ(fs::exists(at("made")), !stopped);
    fs::remove_all(at("made"));
  }
  EXPECT_TRUE(stopped);
  EXPECT_EQ(read_file(at("said"))->find("\nstopping: nothing is kept; "), 0U);
  for (const auto& entry : fs::directory_iterator(folder_))
    EXPECT_FALSE(entry.path().filename().string().starts_with("made")) << entry.path();
}

TEST_F(ConvertCommand, WhereItWritesThereIsNothingYet) {
  fs::create_symlink("nowhere", at("link"));
  EXPECT_EQ(run("convert " + at("source") + " --out " + at("link")).text,
            "fathom: " + at("link") + " is already there\n");
  write_archive(testing_plan::tiny(), false);
  write_published_config(testing_plan::tiny());
  EXPECT_EQ(run("convert " + at("source") + " --out " + at("new/../out")).text,
            "fathom: " + at("new/..") + ": cannot create directory: No such file or directory\n");
  EXPECT_FALSE(fs::exists(at("new")));
}

TEST_F(ConvertCommand, RefusesWhatItCannotDo) {
  write_archive(testing_plan::tiny(), false);
  const std::string file = at("source/pytorch_model.bin"), out = " --out " + at("out");
  EXPECT_EQ(run("convert " + file + out).text,
            "fathom: " + file + ": no config.json says what model this is, expected --spec\n");
  write_published_config(testing_plan::tiny());
  EXPECT_EQ(run("convert " + at("source") + out + " --unroll").text,
            "fathom: --unroll: the model has no recursion\n");
  EXPECT_EQ(run("convert " + at("source") + " -o " + at("source")).text,
            "fathom: " + at("source") + " is already there\n");
  const Outcome longer = run("convert " + at(std::string(300, 'a')) + out);
  EXPECT_EQ(longer.code, 1);
  EXPECT_EQ(longer.text.find("fathom: " + at(std::string(300, 'a')) + ": "), 0U) << longer.text;
  EXPECT_FALSE(fs::exists(at("out")));
}

}  // namespace
}  // namespace fathom
