// Cases of initialisation: the table of rules, and weights that a rule made from those of a vanilla model.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

#include "base/json.h"
#include "cli/verify/case_kinds.h"
#include "plan/layer_sources.h"
#include "plan/spec_io.h"
#include "plan/spec_words.h"
#include "weights/checkpoint.h"
#include "weights/uptraining.h"

namespace fathom::cli::verify {

namespace {

using nlohmann::json;

// The draws that the table was made with: numpy's RandomState(seed).choice(places, count, replace=False), the
// start of a permutation that its Mersenne Twister shuffles by masked rejection; ascending.
DrawPlaces numpy_draw(uint32_t seed) {
  return [seed](int32_t first, int32_t places, int32_t count) {
    std::mt19937 generator(seed);
    std::vector<int32_t> shuffled(static_cast<size_t>(places));
    std::iota(shuffled.begin(), shuffled.end(), first);
    for (uint32_t i = static_cast<uint32_t>(places) - 1; i > 0; --i) {
      uint32_t mask = i, drawn = 0;
      for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
      do {
        drawn = static_cast<uint32_t>(generator()) & mask;
      } while (drawn > i);
      std::swap(shuffled[i], shuffled[drawn]);
    }
    shuffled.resize(static_cast<size_t>(count));
    std::sort(shuffled.begin(), shuffled.end());
    return shuffled;
  };
}

// What stands in an unrolled layer if vanilla layer i is filled with i.
std::vector<float> constants_of(const LayerSources& layers) {
  std::vector<float> values;
  for (const std::vector<int32_t>& sources : layers.sources) {
    values.push_back(std::accumulate(sources.begin(), sources.end(), 0.0F) /
                     static_cast<float>(sources.size()));
  }
  return values;
}

// A row's model: its sizes do not matter, as long as they are a model's.
Result<ModelSpec> spec_of(const json& row) {
  ModelSpec spec;
  spec.vocab_size = spec.hidden_size = spec.intermediate_size = 8;
  spec.num_attention_heads = spec.num_key_value_heads = 1;
  spec.num_hidden_layers = row.at("num_layers").get<int64_t>();
  if (parse_word(row.at("sharing").get<std::string>(), spec.sharing))
    return invalid("unknown sharing " + row.at("sharing").dump());
  spec.initialization = Initialization::kRandom;
  if (parse_word(row.at("initialization").get<std::string>(), *spec.initialization))
    return invalid("unknown initialization " + row.at("initialization").dump());
  return spec;
}

Status compare_row(const json& row, std::map<std::string, Tally>& tallies) {
  FATHOM_ASSIGN(ModelSpec spec, spec_of(row));
  spec.num_recursion = row.at("num_recursion").get<int64_t>();
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  const json& seed = row.at("numpy_seed");
  const LayerSources layers =
      layer_sources(spec, *spec.initialization, numpy_draw(seed.is_null() ? 0 : seed.get<uint32_t>()));
  Tally& tally = tallies["rows of " + row.at("initialization").get<std::string>()];
  const bool equal = plan.num_unrolled_layers() == row.at("layers_after").get<int64_t>() &&
                     layers.kept == row.at("kept_layer_idx").get<std::vector<int32_t>>() &&
                     layers.shared == row.at("shared_id").get<std::vector<int32_t>>() &&
                     constants_of(layers) == row.at("value").get<std::vector<float>>();
  tally.expect(equal, true);
  return {};
}

// num_recursion = 1 with base_depth. The published model of "sequence" keeps the layers at the starts of
// groups, also those behind the last whole group, which it does not run: they hold what they held.
Status compare_reduced_row(const json& row, std::map<std::string, Tally>& tallies) {
  FATHOM_ASSIGN(ModelSpec spec, spec_of(row));
  spec.base_depth = row.at("base_depth").get<int64_t>();
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  std::vector<float> values = constants_of(layer_sources(spec, *spec.initialization, numpy_draw(0)));
  const int64_t group = spec.num_hidden_layers / spec.base_depth;
  if (spec.sharing == Sharing::kSequence) {
    for (int64_t place = spec.base_depth * group; place < spec.num_hidden_layers; place += group)
      values.push_back(static_cast<float>(place));
  }
  const bool equal = plan.num_unrolled_layers() == row.at("layers_after").get<int64_t>() &&
                     values == row.at("value").get<std::vector<float>>();
  tallies["rows of reduced depth"].expect(equal, true);
  return {};
}

// Whether values look like Normal(0, deviation): a published recursive class does not find its head in the
// file of a tied vanilla model, and takes it for untrained. Ours starts as a copy of the embedding.
bool is_drawn(const std::vector<float>& values, double deviation) {
  double squares = 0;
  for (float value : values) squares += double{value} * value;
  const auto count = static_cast<double>(values.size());
  return std::fabs(std::sqrt(squares / count) / deviation - 1) < 4 / std::sqrt(2 * count);
}

}  // namespace

Status verify_init_rules(const CaseRequest& request, Report& report, Parallel& /*parallel*/) {
  const std::string path = request.directory + "/table.json";
  FATHOM_ASSIGN(const json table, read_json_file(path));
  std::map<std::string, Tally> tallies;
  try {
    for (const json& row : table.at("rows")) {
      if (const Status status = compare_row(row, tallies); !status.ok())
        return at(path, invalid(row.dump() + ": " + status.error().message));
    }
    for (const json& row : table.at("nr1_base_depth_rows")) {
      if (const Status status = compare_reduced_row(row, tallies); !status.ok())
        return at(path, invalid(row.dump() + ": " + status.error().message));
    }
  } catch (const json::exception& error) {
    return invalid(path + ": " + error.what());
  }
  for (const auto& [what, tally] : tallies) tally.report(report, "plan", what);
  return {};
}

Status verify_uptrained_weights(const CaseRequest& request, Report& report, Parallel& /*parallel*/) {
  FATHOM_ASSIGN(const ModelSpec spec, load_spec(request.directory));
  if (!spec.initialization)
    return invalid(request.directory + "/config.json: authors_config.recursive.initialization is missing");
  FATHOM_ASSIGN(const ModelPlan plan, build_plan(spec));
  FATHOM_ASSIGN(const WeightFiles source, WeightFiles::open(request.directory + "/source.safetensors"));
  FATHOM_ASSIGN(const WeightFiles recorded, WeightFiles::open(request.directory + "/weights.safetensors"));
  std::vector<std::vector<float>> got, expected;
  for (const Param& param : plan.params) {
    got.emplace_back(static_cast<size_t>(elements_of(param)));
    expected.emplace_back(static_cast<size_t>(elements_of(param)));
  }
  const auto into = [](std::vector<std::vector<float>>& values) {
    return [&values](int32_t param) { return std::span<float>(values[static_cast<size_t>(param)]); };
  };
  // The vanilla models of these cases are tied: the file has no head.
  const bool tied = source.find("lm_head.weight") == nullptr;
  FATHOM_TRY(read_uptrained(plan, source, tied, draw_with(0), into(got)));
  FATHOM_TRY(read_parameters(plan, naming_of(plan), recorded, into(expected)));
  for (size_t p = 0; p < got.size(); ++p) {
    const Param& param = plan.params[p];
    if (param.role == ParamRole::kHead) {
      Tally tally;
      tally.expect(is_drawn(expected[p], param.init.a), true);
      tally.report(report, "weights", "head: drawn anew by the published code");
      continue;
    }
    report.compare("weights", param.name, Kind::kSelections, got[p], expected[p]);
  }
  return {};
}

}  // namespace fathom::cli::verify
