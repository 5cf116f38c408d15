#include "cli/loaded_model.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "io/finite_values.h"
#include "io/model_directory.h"
#include "plan/spec_io.h"
#include "weights/checkpoint.h"
#include "weights/model_source.h"
#include "weights/stored_matrix.h"

namespace fathom::cli {

namespace fs = std::filesystem;

Result<std::string> resolve_model(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::none) return io_error(path + ": " + error.message());
  if (!fs::is_directory(status)) return not_found(path + " is not a directory");
  if (WeightFiles::are_in(path)) return path;
  int64_t last = -1;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::string digits = name.starts_with("checkpoint-") ? name.substr(11) : "";
    if (digits.empty() || digits.size() > 15 ||
        !std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; }))
      continue;
    last = std::max<int64_t>(last, std::stoll(digits));
  }
  if (error) return io_error(path + ": " + error.message());
  if (last < 0) return not_found(path + " holds neither the weights of a model nor a checkpoint of a run");
  return (fs::path(path) / ("checkpoint-" + std::to_string(last))).string();
}

Result<LoadedWeights> load_weights_of(const std::string& path, const MatrixChoice& matrices,
                                      bool check_tensors) {
  LoadedWeights model;
  FATHOM_ASSIGN(model.path, resolve_model(path));
  FATHOM_ASSIGN(const ModelSpec spec, load_spec(model.path));
  // What no plan can be made of is the configuration's fault, whatever the weights are.
  if (const Result<ModelPlan> plan = build_plan(spec); !plan.ok())
    return make_error(model.path + "/config.json: " + plan.error().message, plan.error().kind);
  FATHOM_ASSIGN(ModelSource source, open_model_source(spec, model.path));
  if (check_tensors) FATHOM_TRY(check_finite(*source.files));
  model.matrix_type = matrices.named.value_or(holds_int8(*source.files) ? DType::kI8 : matrices.usual);
  FATHOM_ASSIGN(Weights weights, load_weights(source.plan, source.scheme, source.files, model.matrix_type));
  model.plan = std::move(source.plan);
  model.weights = std::make_unique<const Weights>(std::move(weights));
  return model;
}

Result<LoadedModel> load_model(const std::string& path, const MatrixChoice& matrices, bool check_tensors) {
  FATHOM_ASSIGN(LoadedWeights loaded, load_weights_of(path, matrices, check_tensors));
  LoadedModel model;
  model.matrix_type = loaded.matrix_type;
  model.path = std::move(loaded.path);
  model.plan = std::move(loaded.plan);
  model.weights = std::move(loaded.weights);
  FATHOM_ASSIGN(const ModelDirectory directory, ModelDirectory::open(model.path));
  FATHOM_ASSIGN(model.codec, TextCodec::of_model(model.path, model.plan.dims.vocab_size));
  FATHOM_ASSIGN(model.end_ids, directory.end_of_text_ids());
  model.generation_config = directory.generation_config();
  if (model.end_ids.empty() && model.codec.end_of_text() >= 0)
    model.end_ids.push_back(model.codec.end_of_text());
  return model;
}

}  // namespace fathom::cli
