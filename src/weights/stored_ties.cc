#include "weights/stored_ties.h"

#include <optional>
#include <unordered_set>

#include "plan/model_plan.h"
#include "plan/naming.h"

namespace fathom {

namespace {

using Switch = bool ModelSpec::*;

Result<std::vector<FileTensor>> tensors_of(const ModelSpec& spec, Switch tied, bool value,
                                           const WeightFiles& files) {
  ModelSpec variant = spec;
  variant.*tied = value;
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(variant));
  return checkpoint_tensors(
      plan, naming_of(plan, [&](const std::string& name) { return files.find(name) != nullptr; }));
}

// Compares the names that only the tied model takes for further names of a tensor. Nothing if the files have
// none of them beside the tensor.
Result<std::optional<bool>> stored_as_tied(const ModelSpec& spec, Switch tied, const WeightFiles& files) {
  FATHOM_ASSIGN(const std::vector<FileTensor> together, tensors_of(spec, tied, true, files));
  FATHOM_ASSIGN(const std::vector<FileTensor> apart, tensors_of(spec, tied, false, files));
  std::unordered_set<std::string> own;
  for (const FileTensor& tensor : apart) own.insert(tensor.name);
  std::optional<bool> answer;
  for (const FileTensor& tensor : together) {
    const StoredTensor* first = files.find(tensor.name);
    for (const std::string& alias : tensor.aliases) {
      const StoredTensor* other = own.contains(alias) ? files.find(alias) : nullptr;
      if (first == nullptr || other == nullptr) continue;
      if (!same_values(*first, *other)) return std::optional(false);
      answer = true;
    }
  }
  return answer;
}

}  // namespace

Result<ModelSpec> with_stored_ties(const ModelSpec& given, const WeightFiles& files) {
  ModelSpec spec = given;
  std::vector<Switch> switches = {&ModelSpec::tie_word_embeddings};
  // The published code untied the attention of expert choice alone.
  if (spec.architecture == "llama" && spec.router && spec.router->kind == RouterKind::kExpertChoice)
    switches.push_back(&ModelSpec::share_attention);
  for (const Switch tied : switches) {
    FATHOM_ASSIGN(const std::optional<bool> stored, stored_as_tied(spec, tied, files));
    if (stored) spec.*tied = *stored;
  }
  return spec;
}

}  // namespace fathom
