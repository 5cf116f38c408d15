// Commands as a user runs them, and models for them, for the tests of commands.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "io/model_directory.h"
#include "plan/naming.h"
#include "plan/spec_io.h"
#include "weights/checkpoint.h"
#include "weights/random_weights.h"

namespace fathom::cli::testing {

struct Outcome {
  int code = -1;
  std::string text;
};

// `fathom ARGUMENTS STREAMS` in a shell; `streams` chooses what is caught.
inline Outcome run_fathom(const std::string& arguments, const std::string& streams = "2>&1") {
  Outcome outcome;
  FILE* pipe = ::popen((FATHOM_BIN_DIR "/fathom " + arguments + " " + streams).c_str(), "r");
  std::array<char, 4096> buffer;
  for (size_t got; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    outcome.text.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

// `text` with `folder` and a slash in place of every @.
inline std::string in_folder(std::string text, const std::string& folder) {
  for (size_t at = 0; (at = text.find('@', at)) != std::string::npos;) text.replace(at, 1, folder + "/");
  return text;
}

// A model directory with these values of its parameters.
inline void write_model(const std::string& path, const ModelPlan& plan,
                        const std::function<std::span<const float>(int32_t parameter)>& values) {
  std::vector<std::vector<uint8_t>> storage;
  ModelDirectoryContent content;
  content.config = nlohmann::ordered_json::parse(write_config_json(plan.spec));
  content.tensors = checkpoint_views(plan, naming_of(plan), DType::kF32, values, storage);
  ASSERT_TRUE(write_model_directory(path, content).ok());
}

// One with random weights. Bytes are its tokens: the specification's vocabulary is theirs.
inline void write_random_model(const std::string& path, ModelSpec spec) {
  spec.vocab_size = 257;
  const ModelPlan plan = *build_plan(spec);
  SerialParallel serial;
  const Weights weights = random_weights(plan, 5, DType::kF32, serial);
  write_model(path, plan, [&](int32_t p) {
    return std::span(static_cast<const float*>(weights.at(p).data),
                     static_cast<size_t>(elements_of(plan.params[static_cast<size_t>(p)])));
  });
}

}  // namespace fathom::cli::testing
