// A model directory opened for generation: plan, weights, tokenizer.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/numeric_flags.h"
#include "cli/text_codec.h"
#include "plan/model_plan.h"
#include "weights/weights.h"

namespace fathom::cli {

struct LoadedModel {
  std::string path;
  ModelPlan plan;
  std::unique_ptr<const Weights> weights;
  DType matrix_type = DType::kF32;  // of the weights, see plan/matrix_types.h
  TextCodec codec;
  std::vector<int32_t> end_ids;      // tokens that end a text
  nlohmann::json generation_config;  // null without generation_config.json
};

// A model directory, or the directory of a run, whose last checkpoint is taken.
Result<std::string> resolve_model(const std::string& path);
// Plan and weights alone, for what needs no text.
struct LoadedWeights {
  std::string path;
  ModelPlan plan;
  std::unique_ptr<const Weights> weights;
  DType matrix_type = DType::kF32;
};
// `check_tensors` refuses weights that are not finite, which costs a pass over all of them.
Result<LoadedWeights> load_weights_of(const std::string& path, const MatrixChoice& matrices,
                                      bool check_tensors = false);
Result<LoadedModel> load_model(const std::string& path, const MatrixChoice& matrices,
                               bool check_tensors = false);

}  // namespace fathom::cli
