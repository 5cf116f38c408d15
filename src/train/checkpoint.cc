#include "train/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "base/json.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "plan/naming.h"
#include "plan/spec_io.h"
#include "weights/streamed_tensors.h"

namespace fathom::train {

std::string checkpoint_name(int64_t step) { return "checkpoint-" + std::to_string(step); }

std::vector<int64_t> list_checkpoints(const std::string& directory) {
  std::vector<int64_t> steps;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(directory, code)) {
    const std::string name = entry.path().filename().string();
    const std::string prefix = "checkpoint-";
    if (!name.starts_with(prefix) || name.size() == prefix.size() || name.size() > prefix.size() + 15)
      continue;
    const std::string digits = name.substr(prefix.size());
    if (!std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; })) continue;
    steps.push_back(std::stoll(digits));
  }
  std::ranges::sort(steps);
  return steps;
}

namespace {

// Tensors of the optimizer: "first.<parameter>", "second.<parameter>".
std::vector<TensorView> optimizer_views(const ModelPlan& plan, const OptimizerState& optimizer) {
  std::vector<TensorView> views;
  for (size_t p = 0; p < plan.params.size(); ++p) {
    views.push_back(
        view_of("first." + plan.params[p].name, DType::kF32, plan.params[p].shape, optimizer.first[p]));
    views.push_back(
        view_of("second." + plan.params[p].name, DType::kF32, plan.params[p].shape, optimizer.second[p]));
  }
  return views;
}

// More than any run reaches, and little enough that a run that goes on adds to it without overflow.
constexpr uint64_t kMostCounted = uint64_t{1} << 60;

Result<int64_t> count(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned() || found->get<uint64_t>() > kMostCounted) {
    return invalid(std::string(key) + " is missing or no count");
  }
  return found->get<int64_t>();
}

Result<std::string> text(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) return invalid(std::string(key) + " is missing or no text");
  return found->get<std::string>();
}

nlohmann::json to_json(const TrainerState& state) {
  return {{"format_version", kTrainerFormatVersion},
          {"step", state.step},
          {"tokens", state.tokens},
          {"forward_calls", state.forward_calls},
          {"threads", state.threads},
          {"instruction_set", state.instruction_set},
          {"data", to_json(state.data)},
          {"valid_data", state.valid_data},
          {"recipe", state.recipe}};
}

Result<TrainerState> state_from(const nlohmann::json& json) {
  if (!json.is_object()) return invalid("is " + kind_of(json) + ", expected an object");
  FATHOM_ASSIGN(const int64_t version, count(json, "format_version"));
  if (version != kTrainerFormatVersion) {
    return invalid("format_version is " + std::to_string(version) + ", this program reads " +
                   std::to_string(kTrainerFormatVersion));
  }
  TrainerState state;
  FATHOM_ASSIGN(state.step, count(json, "step"));
  FATHOM_ASSIGN(state.tokens, count(json, "tokens"));
  FATHOM_ASSIGN(state.forward_calls, count(json, "forward_calls"));
  FATHOM_ASSIGN(const int64_t threads, count(json, "threads"));
  if (threads < 1 || threads > INT32_MAX) return invalid("threads is " + std::to_string(threads));
  state.threads = static_cast<int>(threads);
  FATHOM_ASSIGN(state.instruction_set, text(json, "instruction_set"));
  FATHOM_ASSIGN(state.valid_data, text(json, "valid_data"));
  for (const char* key : {"data", "recipe"}) {
    if (!json.contains(key) || !json[key].is_object())
      return invalid(std::string(key) + " is missing or no object");
  }
  FATHOM_ASSIGN(state.data, mixture_state_from_json(json["data"]));
  state.recipe = json["recipe"];
  return state;
}

}  // namespace

Status write_checkpoint(const std::string& path, const ModelPlan& plan, const Parameters& parameters,
                        const OptimizerState& optimizer, const TrainerState& state, const RunData& data) {
  FATHOM_ASSIGN(AtomicDirectory directory, AtomicDirectory::begin(path));
  ModelDirectoryContent content;
  content.config = nlohmann::ordered_json::parse(write_config_json(plan.spec));
  if (data.end_of_document)
    content.generation_config = nlohmann::ordered_json{{"eos_token_id", *data.end_of_document}};
  content.files = data.tokenizer_files;
  const StreamedTensors tensors =
      checkpoint_stream(plan, naming_of(plan), [&](int32_t param) { return parameters.values(param); });
  FATHOM_TRY(write_model_files(directory.path(), content, tensors));
  FATHOM_TRY(write_safetensors(directory.path() + "/trainer.safetensors", optimizer_views(plan, optimizer)));
  FATHOM_TRY(directory.write_file("trainer.json", to_json(state).dump(1) + "\n"));
  return directory.commit();
}

Result<TrainerState> read_trainer_state(const std::string& path) {
  const std::string file = path + "/trainer.json";
  FATHOM_ASSIGN(const nlohmann::json json, read_json_file(file));
  Result<TrainerState> state = state_from(json);
  if (!state.ok()) return at(file, std::move(state).error());
  return state;
}

Status read_checkpoint_tensors(const std::string& path, const ModelPlan& plan, Parameters& parameters,
                               OptimizerState& optimizer) {
  FATHOM_ASSIGN(const WeightFiles weights, WeightFiles::open(path));
  FATHOM_TRY(load_parameters(plan, naming_of(plan), weights, parameters));
  FATHOM_ASSIGN(const SafetensorsFile moments, SafetensorsFile::open(path + "/trainer.safetensors"));
  for (size_t p = 0; p < plan.params.size(); ++p) {
    for (const auto& [prefix, target] :
         {std::pair{"first.", &optimizer.first[p]}, std::pair{"second.", &optimizer.second[p]}}) {
      const std::string name = prefix + plan.params[p].name;
      const TensorInfo* info = moments.find(name);
      if (info == nullptr || info->shape != plan.params[p].shape) {
        return invalid(path + "/trainer.safetensors: tensor " + name + " is missing or has another shape");
      }
      FATHOM_TRY(copy_as_f32(moments, *info, *target));
    }
  }
  return {};
}

Status prune_checkpoints(const std::string& directory, int64_t keep) {
  const std::vector<int64_t> steps = list_checkpoints(directory);
  for (size_t i = 0; i + static_cast<size_t>(keep) < steps.size(); ++i) {
    FATHOM_TRY(remove_directory_atomically(directory + "/" + checkpoint_name(steps[i])));
  }
  return {};
}

}  // namespace fathom::train
