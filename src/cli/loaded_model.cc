#include "cli/loaded_model.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "io/finite_values.h"
#include "io/model_directory.h"
#include "io/warm_pages.h"
#include "plan/spec_io.h"
#include "weights/model_source.h"

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

namespace {

MatrixTypes types_for(const MatrixChoice& matrices, const ModelSource& source) {
  const MatrixTypes stored = stored_matrix_types(source);
  const bool quantised = stored == DType::kI8 || stored == DType::kI4;
  // What is int4 already stays so, in its groups.
  if (!matrices.named || (*matrices.named == DType::kI4 && stored == DType::kI4))
    return quantised || matrices.as_stored ? stored : MatrixTypes(matrices.usual);
  return {*matrices.named, matrices.group};
}

}  // namespace

Status check_weight_memory(const std::string& model, const StoredWeights& weights,
                           const MatrixTypes& matrix_type, const MatrixChoice& matrices,
                           std::optional<int64_t> available) {
  const int64_t bytes = weights.loading_bytes(matrix_type);
  if (!available || bytes <= *available) return {};
  std::string sentence = model + ": as " + std::string(name_of(matrix_type)) + " its weights need " +
                         std::to_string(bytes >> 20) + " MiB beside the mapped files, but " +
                         std::to_string(*available >> 20) + " MiB are free";
  DType least = matrix_type;
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8, DType::kI4}) {
    if (weights.loading_bytes(type) < weights.loading_bytes(least)) least = type;
  }
  if (matrices.has_flag && least != matrix_type) {
    sentence += "; --dtype " + std::string(name_of(least)) + " needs " +
                std::to_string(weights.loading_bytes(least) >> 20) + " MiB";
  }
  return invalid(std::move(sentence));
}

namespace {

// Meanwhile the tokenizer is read. Not of files that were read anyway to be converted, nor of more than fits
// into memory, which would push itself out, nor where there is one core for both.
std::jthread warmed(const std::shared_ptr<const WeightFiles>& files, const Weights& weights) {
  int64_t mapped = 0;
  for (const StoredTensor& tensor : files->tensors()) mapped += static_cast<int64_t>(tensor.bytes().size());
  const bool converted = weights.bytes_owned() > mapped / 2;
  if (converted || available_cores() < 2 || mapped > available_memory().value_or(0)) return {};
  return warm_pages(files);
}

}  // namespace

Result<LoadedWeights> load_weights_of(const std::string& path, const MatrixChoice& matrices,
                                      bool check_tensors, Parallel* parallel) {
  LoadedWeights model;
  FATHOM_ASSIGN(model.path, resolve_model(path));
  FATHOM_ASSIGN(const ModelSpec spec, load_spec(model.path));
  // What no plan can be made of is the configuration's fault, whatever the weights are.
  if (const Result<ModelPlan> plan = build_plan(spec); !plan.ok())
    return make_error(model.path + "/config.json: " + plan.error().message, plan.error().kind);
  FATHOM_ASSIGN(ModelSource source, open_model_source(spec, model.path));
  if (check_tensors) FATHOM_TRY(check_finite(*source.files));
  model.matrix_type = types_for(matrices, source);
  FATHOM_ASSIGN(const StoredWeights stored, StoredWeights::open(source.plan, source.scheme, source.files));
  FATHOM_TRY(check_weight_memory(model.path, stored, model.matrix_type, matrices));
  SerialParallel serial;
  FATHOM_ASSIGN(Weights weights, stored.load(model.matrix_type, parallel != nullptr ? *parallel : serial));
  model.warming = warmed(source.files, weights);
  model.plan = std::move(source.plan);
  model.weights = std::make_unique<const Weights>(std::move(weights));
  return model;
}

namespace {

// What config.json of Phi-4-mini-flash says of its end is its class's default, an ordinary token (9.1, 9.3 of
// Decoder-Hybrid-Decoder): its tokenizer's tokens of that name come first.
Result<std::vector<int32_t>> end_ids_of(const ModelDirectory& directory, const LoadedModel& model) {
  const nlohmann::json& generation = directory.generation_config();
  const bool said = generation.contains("eos_token_id") && !generation["eos_token_id"].is_null();
  if (model.plan.spec.architecture == "phi4flash" && !said) {
    std::vector<int32_t> ids;
    for (const char* name : {"<|end|>", "<|endoftext|>"}) {
      if (const int32_t id = model.codec.token_of(name); id >= 0) ids.push_back(id);
    }
    if (!ids.empty()) return ids;
  }
  FATHOM_ASSIGN(std::vector<int32_t> ids, directory.end_of_text_ids());
  if (ids.empty() && model.codec.end_of_text() >= 0) ids.push_back(model.codec.end_of_text());
  return ids;
}

}  // namespace

Result<LoadedModel> load_model(const std::string& path, const MatrixChoice& matrices, bool check_tensors,
                               Parallel* parallel) {
  FATHOM_ASSIGN(LoadedWeights loaded, load_weights_of(path, matrices, check_tensors, parallel));
  LoadedModel model;
  model.matrix_type = loaded.matrix_type;
  model.path = std::move(loaded.path);
  model.plan = std::move(loaded.plan);
  model.weights = std::move(loaded.weights);
  model.warming = std::move(loaded.warming);
  FATHOM_ASSIGN(const ModelDirectory directory, ModelDirectory::open(model.path));
  FATHOM_ASSIGN(model.codec, TextCodec::of_model(model.path, model.plan.dims.vocab_size));
  FATHOM_ASSIGN(model.end_ids, end_ids_of(directory, model));
  model.generation_config = directory.generation_config();
  return model;
}

Result<text::ChatTemplate> chat_template_of(const LoadedModel& model, const std::string& named) {
  if (!named.empty()) return text::ChatTemplate::named(named);
  Result<text::ChatTemplate> own = text::ChatTemplate::of_model(model.path);
  const bool none = !own.ok() && own.error().kind == ErrorKind::kNotFound;
  if (none && model.plan.spec.architecture == "phi4flash") return text::ChatTemplate::named("phi");
  return own;
}

}  // namespace fathom::cli
