// A broken file as the user of a command meets it: exit status 1, one line on standard error that names the
// file, nothing on standard output, no file made or changed.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <map>

#include "base/file.h"
#include "faults/faults.h"
#include "faults/temporary_folder.h"

namespace fathom::faults {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int exit_code = -1;
  std::string out, error;
};

Outcome run(const TemporaryFolder& scratch, const std::string& arguments) {
  const std::string out = scratch.path() + "/out", error = scratch.path() + "/error";
  const int status = std::system(
      (std::string(FATHOM_BIN_DIR) + "/fathom " + arguments + " >" + out + " 2>" + error + " </dev/null")
          .c_str());
  Outcome outcome{WEXITSTATUS(status), *read_file(out), *read_file(error)};
  fs::remove(out);
  fs::remove(error);
  return outcome;
}

std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.emplace(entry.path().string(), *read_file(entry.path().string()));
  }
  return files;
}

TEST(CommandFaults, OneLineOnStandardErrorAndNothingElse) {
  const TemporaryFolder folder;
  const std::string at = folder.path() + "/";
  const std::string tiny = *read_file(std::string(FATHOM_SOURCE_DIR) + "/configs/models/tiny/llama.toml");
  folder.write("spec.toml", tiny + "hiden_size = 3\n");
  folder.write("cut.toml", "architecture = \"lla");
  folder.write("config.json", "{\"model_type\": \"llama\", \"vocab_size\": -1}");
  folder.write("empty.safetensors", "");
  folder.write("length.safetensors", std::string(8, '\xff'));
  folder.write("tokens/tokenizer.json",
               "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}");
  folder.write("model/config.json", "{\"model_type\": \"llama\"");
  const struct {
    std::string arguments, sentence;
  } rows[] = {
      {"plan " + at + "spec.toml", at + "spec.toml: unknown key hiden_size"},
      {"plan " + at + "cut.toml",
       at + "cut.toml: line 1: Error while parsing string: encountered end-of-file"},
      {"plan " + at + "config.json", at + "config.json: hidden_size: absent, expected an integer"},
      {"inspect " + at + "empty.safetensors",
       at + "empty.safetensors: the file has 0 bytes, fewer than the 8 of the header length"},
      {"inspect " + at + "length.safetensors",
       at + "length.safetensors: header length 18446744073709551615 exceeds the limit of 100000000"},
      {"inspect " + at + "model", at + "model/config.json: line 1, column 23: syntax error while parsing "
                                       "object - unexpected end of input; expected '}'"},
      {"tokenize --tokenizer " + at + "tokens hello",
       at + "tokens/tokenizer.json: model.vocab: id 0 is given to both "
            "\"a\" and \"b\""},
      {"generate " + at + "model --prompt hello",
       at + "model holds neither the weights of a model nor a checkpoint of a run"},
  };
  const auto before = contents(folder.path());
  for (const auto& row : rows) {
    const Outcome outcome = run(folder, row.arguments);
    EXPECT_EQ(outcome.exit_code, 1) << row.arguments;
    EXPECT_EQ(outcome.out, "") << row.arguments;
    EXPECT_EQ(outcome.error, "fathom: " + row.sentence + "\n") << row.arguments;
    EXPECT_EQ(contents(folder.path()), before) << row.arguments;
  }
}

// Not supported is another exit status, and its line is one line whatever the file says.
TEST(CommandFaults, AnEmptyNameOfAFileIsRefused) {
  const TemporaryFolder scratch;
  for (const char* arguments :
       {"bench tiny/llama --plot ''", "convert x --out ''", "eval x --output ''", "eval x --plot ''",
        "eval x --log-samples ''", "eval x --write-items ''", "fit x --out ''", "init tiny/llama --out ''",
        "init tiny/llama --out x --tokenizer ''", "inspect x --depths ''", "inspect x --file ''",
        "plot x --out ''", "quantize x --out ''", "tokenize --train x --out ''", "chat x --load ''",
        "generate x --file ''"}) {
    const Outcome outcome = run(scratch, arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_NE(outcome.error.find(": an empty text"), std::string::npos) << arguments << outcome.error;
  }
}

TEST(CommandFaults, WhatIsNotSupportedHasItsOwnStatus) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", "{\"model\": {\"type\": \"B\\nP\\u0007E\"}}");
  const Outcome outcome = run(folder, "tokenize --tokenizer " + folder.path() + " hello");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.error,
            "fathom: " + folder.path() + "/tokenizer.json: model.type is \"B?P?E\"; supported are BPE\n");
}

}  // namespace
}  // namespace fathom::faults
