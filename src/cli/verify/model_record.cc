// What case.json says of a model as a whole, against its plan.
#include <optional>
#include <set>

#include "cli/verify/case_kinds.h"
#include "cli/verify/model_case.h"

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

}  // namespace

void compare_record(const ModelCase& c, Report& report) {
  compare_counts(c, report);
  compare_sources(c, report);
}

}  // namespace fathom::cli::verify
