// What case.json says of a model as a whole, against its plan.
#include <algorithm>
#include <optional>
#include <set>

#include "cli/verify/case_kinds.h"
#include "cli/verify/model_case.h"
#include "plan/config_dialects.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

// Tensors, their values and their names. A model of one recursion was counted with layers that nobody runs.
void compare_counts(const ModelCase& c, Report& report) {
  if (c.plan.spec.sharing != Sharing::kNone && c.plan.spec.num_recursion == 1) return;
  int64_t tensors = 0, values = 0, names = 0;
  for (const FileTensor& tensor : checkpoint_tensors(c.plan, c.scheme)) {
    ++tensors;
    names += 1 + static_cast<int64_t>(tensor.aliases.size());
    int64_t count = 1;
    for (const int64_t extent : tensor.shape) count *= extent;
    values += count;
  }
  Tally tally;
  const auto compare = [&](const json& recorded, const char* key, int64_t got) {
    if (const auto found = recorded.find(key); found != recorded.end() && found->is_number_integer())
      tally.expect(got, found->get<int64_t>());
  };
  const json counts = c.record.value("parameter_counts", json::object());
  compare(counts, "distinct_tensors", tensors);
  compare(counts, "distinct_values", values);
  compare(counts, "names_in_state_dict", names);
  compare(c.record, "parameters", values);
  if (tally.compared() > 0) tally.report(report, "plan", "case.json: tensors, values, names");
}

// The layer that writes what layers of this kind read. Nothing if there are none.
std::optional<int32_t> source_of(const ModelPlan& plan, BlockKind readers) {
  std::set<SlotId> read;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
    if (layer.kind() == readers) read.insert(layer.reads.begin(), layer.reads.end());
  });
  std::optional<int32_t> source;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
    for (const SlotId slot : layer.writes) {
      if (read.contains(slot)) source = layer.index;
    }
  });
  return source;
}

void compare_sources(const ModelCase& c, Report& report) {
  Tally tally;
  const auto compare = [&](const char* key, BlockKind readers) {
    const std::optional<int32_t> source = source_of(c.plan, readers);
    const auto found = c.record.find(key);
    if (!source || found == c.record.end() || !found->is_number_integer()) return;
    tally.expect(int64_t{*source}, found->get<int64_t>());
  };
  compare("memory_written_by_layer", BlockKind::kGatedMemory);
  compare("shared_kv_written_by_layer", BlockKind::kCrossAttention);
  if (tally.compared() > 0) tally.report(report, "plan", "case.json: layers that others read");
}

// A layer as "mamba", "attention window=5 differential".
std::string words_of(const Layer& layer) {
  switch (layer.kind()) {
    case BlockKind::kMamba:
      return "mamba";
    case BlockKind::kMamba2:
      return "mamba2";
    case BlockKind::kGatedDelta:
      return "gdn";
    case BlockKind::kGatedMemory:
      return "gmu";
    case BlockKind::kAttention:
    case BlockKind::kCrossAttention:
      break;
  }
  const auto& attention = std::get<Attention>(layer.mixer);
  std::string words = attention.cross ? "cross attention" : "attention";
  if (attention.window > 0 && attention.window != kNoWindow)
    words += " window=" + std::to_string(attention.window);
  return words + (attention.differential ? " differential" : "");
}

// The same of a recorded layer, whose words may stand in another order with others among them.
std::string words_of(const std::string& recorded) {
  const auto says = [&](const char* word) { return recorded.find(word) != std::string::npos; };
  if (!says("attention")) return recorded;
  std::string words = says("cross") ? "cross attention" : "attention";
  if (const size_t window = recorded.find("window="); window != std::string::npos) {
    const size_t end = recorded.find_first_not_of("0123456789", window + 7);
    words += " " + recorded.substr(window, end == std::string::npos ? end : end - window);
  }
  return words + (says("differential") ? " differential" : "");
}

void compare_layers(const ModelCase& c, Report& report) {
  const auto found = c.record.find("layers");
  if (found == c.record.end() || !found->is_array()) return;
  std::vector<std::string> got, recorded;
  for_each_unrolled_layer(
      c.plan, [&](const Segment&, const Layer& layer, int32_t) { got.push_back(words_of(layer)); });
  for (const json& layer : *found)
    recorded.push_back(layer.is_string() ? words_of(layer.get<std::string>()) : "");
  Tally tally;
  for (size_t i = 0; i < std::max(got.size(), recorded.size()); ++i) {
    tally.expect(i < got.size() ? got[i] : std::string("none"),
                 i < recorded.size() ? recorded[i] : std::string("none"));
  }
  tally.report(report, "plan", "case.json: kinds of layers");
}

// Factors of muP and muP++.
void compare_scales(const ModelCase& c, Report& report) {
  const json scales = c.record.value("scales", json::object());
  Distance distance;
  const auto compare = [&](const char* key, double got) {
    const auto found = scales.find(key);
    if (found != scales.end() && found->is_number()) distance.add(got, found->get<double>(), 1);
  };
  compare("logit_scale", c.plan.logit_scale);
  compare("residual_branch_scale", c.plan.residual_scale);
  for_each_unrolled_layer(c.plan, [&](const Segment&, const Layer& layer, int32_t) {
    if (const auto* attention = std::get_if<Attention>(&layer.mixer))
      compare("attention_softmax_scale", attention->scale);
  });
  if (!scales.empty()) distance.report(report, "plan", "case.json: scales");
}

}  // namespace

void compare_record(const ModelCase& c, Report& report) {
  compare_counts(c, report);
  compare_sources(c, report);
  compare_layers(c, report);
  compare_scales(c, report);
}

}  // namespace fathom::cli::verify
