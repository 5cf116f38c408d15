// A model directory opened for generation: plan, weights, tokenizer.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/machine_limits.h"
#include "base/parallel.h"
#include "base/result.h"
#include "cli/numeric_flags.h"
#include "cli/text_codec.h"
#include "plan/model_plan.h"
#include "text/chat_template.h"
#include "weights/checkpoint.h"
#include "weights/weights.h"

namespace fathom::cli {

struct LoadedModel {
  std::string path;
  ModelPlan plan;
  std::unique_ptr<const Weights> weights;
  MatrixTypes matrix_type = DType::kF32;  // of the weights
  TextCodec codec;
  std::vector<int32_t> end_ids;      // tokens that end a text
  nlohmann::json generation_config;  // null without generation_config.json
  std::jthread warming;              // see LoadedWeights
};

// A model directory, or the directory of a run, whose last checkpoint is taken.
Result<std::string> resolve_model(const std::string& path);
// Plan and weights alone, for what needs no text.
struct LoadedWeights {
  std::string path;
  ModelPlan plan;
  std::unique_ptr<const Weights> weights;
  MatrixTypes matrix_type = DType::kF32;
  std::jthread warming;  // makes pages of mapped weights ready (io/warm_pages.h), if anything; may be dropped
};
// `check_tensors` refuses weights that are not finite, which costs a pass over all of them. What has to be
// converted is shared out to `parallel`; without one the calling thread does it. Errors: also those of
// check_weight_memory(), before anything is allocated.
Result<LoadedWeights> load_weights_of(const std::string& path, const MatrixChoice& matrices,
                                      bool check_tensors = false, Parallel* parallel = nullptr);
Result<LoadedModel> load_model(const std::string& path, const MatrixChoice& matrices,
                               bool check_tensors = false, Parallel* parallel = nullptr);

// The format of a conversation's messages: the one that is named, else the one that the model's template
// writes. Phi-4-mini-flash without a template has the published one, "phi". Errors: those of ChatTemplate.
Result<text::ChatTemplate> chat_template_of(const LoadedModel& model, const std::string& named);

// Error: loading the weights with matrices of `matrix_type` takes more memory, beside the mapped files, than
// is `available`. `model` is its name in the sentence, which says what to do: the type that takes the least.
Status check_weight_memory(const std::string& model, const StoredWeights& weights,
                           const MatrixTypes& matrix_type, const MatrixChoice& matrices,
                           std::optional<int64_t> available = available_memory());

}  // namespace fathom::cli
