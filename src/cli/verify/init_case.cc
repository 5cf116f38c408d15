// Cases of initialisation: the table of rules, and weights that a rule made from those of a vanilla model.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
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

// Values of every parameter of a model.
using Values = std::vector<std::vector<float>>;

Values values_of(const ModelPlan& plan, float value) {
  Values values;
  for (const Param& param : plan.params) values.emplace_back(static_cast<size_t>(elements_of(param)), value);
  return values;
}

std::function<std::span<float>(int32_t)> into(Values& values) {
  return [&values](int32_t param) { return std::span<float>(values[static_cast<size_t>(param)]); };
}

// Layers of a file of a vanilla model.
int64_t layers_in(const WeightFiles& files) {
  const std::string prefix = "model.layers.";
  int64_t layers = 0;
  for (const StoredTensor& stored : files.tensors()) {
    const std::string& name = stored.info->name;
    if (name.starts_with(prefix))
      layers = std::max<int64_t>(layers, std::atoll(name.c_str() + prefix.size()) + 1);
  }
  return layers;
}

// Whether the root of the mean square is `deviation`, as far as that many draws tell.
bool has_deviation(const std::vector<float>& values, double deviation) {
  double squares = 0;
  for (float value : values) squares += double{value} * value;
  const auto count = static_cast<double>(values.size());
  return std::fabs(std::sqrt(squares / count) / deviation - 1) < 4 / std::sqrt(2 * count);
}

// Whether values look like fresh ones of this kind.
bool is_drawn(const std::vector<float>& values, const Init& init) {
  switch (init.kind) {
    case InitKind::kNormal:
      return has_deviation(values, init.a);
    case InitKind::kUniform:
      return has_deviation(values, init.a / std::sqrt(3.0)) && std::ranges::all_of(values, [&](float value) {
               return std::fabs(value) <= init.a * (1 + 1e-6);
             });
    case InitKind::kConstant:
      return std::ranges::all_of(values, [&](float value) { return value == static_cast<float>(init.a); });
    default:
      return false;  // of no layer that is shared
  }
}

// Whether a parameter is of the attention of a layer under expert choice, which the published class makes
// anew, with its library's default for linear layers, after the rule has filled it (9.1).
bool made_anew(const ModelPlan& plan, size_t param) {
  if (plan.params[param].role != ParamRole::kMatrix) return false;
  const std::string& name = plan.params[param].name;
  for (const Segment& segment : plan.segments) {
    if (!segment.router || segment.router->spec.kind != RouterKind::kExpertChoice) continue;
    for (const Layer& layer : segment.layers) {
      if (name.starts_with("layers." + std::to_string(layer.index) + ".attention.")) return true;
    }
  }
  return false;
}

// What a case compares: the models, the recorded weights, and those that the rule makes.
struct Uptraining {
  ModelPlan plan;
  WeightFiles source;
  bool tied = false;  // the vanilla model's head
  Values recorded;

  // NaN where the vanilla model has nothing to fill a parameter with.
  Result<Values> made(const DrawPlaces& draw) const {
    Values values = values_of(plan, std::nanf(""));
    FATHOM_TRY(read_uptrained(plan, source, tied, draw, into(values)));
    return values;
  }
};

// The places that the rule random drew, read off the recorded weights: for each shared layer the first whose
// tensors are equal to the last bit. Error: a layer has none, or none that ascends.
Result<std::vector<int32_t>> places_drawn(const Uptraining& c) {
  int32_t first = 0, places = 0, count = 0;
  const auto ask = [&](int32_t from, int32_t of, int32_t drawn) {
    first = from;
    places = of;
    count = drawn;
    return std::vector<int32_t>(static_cast<size_t>(drawn), from);
  };
  FATHOM_TRY(c.made(ask));
  std::vector<std::string> layers;  // the shared ones, in order
  for (const Segment& segment : c.plan.segments) {
    for (const Layer& layer : segment.layers) layers.push_back("layers." + std::to_string(layer.index) + ".");
  }
  if (static_cast<int32_t>(layers.size()) > count) layers = {layers.begin() + 1, layers.end() - 1};
  std::vector<int32_t> drawn;
  for (int32_t place = first; place < first + places && drawn.size() < layers.size(); ++place) {
    FATHOM_ASSIGN(const Values all, c.made([&](int32_t, int32_t, int32_t) {
      return std::vector<int32_t>(static_cast<size_t>(count), place);
    }));
    const std::string& layer = layers[drawn.size()];
    bool equal = true;
    for (size_t p = 0; p < all.size(); ++p) {
      const bool counts = c.plan.params[p].name.starts_with(layer) && !std::isnan(all[p].front());
      if (counts && !made_anew(c.plan, p)) equal &= all[p] == c.recorded[p];
    }
    if (equal) drawn.push_back(place);
  }
  if (drawn.size() < layers.size()) {
    return invalid("rule random: of " + std::to_string(layers.size()) + " shared layers " +
                   std::to_string(drawn.size()) +
                   " are found among the vanilla model's, each behind the one before");
  }
  return drawn;
}

// DoRA's magnitudes start as the norms of the rows of their matrices, before anything else fills an adapter.
void compare_magnitudes(const Uptraining& c, Report& report) {
  for_each_unrolled_layer(c.plan, [&](const Segment&, const Layer& layer, int32_t depth) {
    for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
      const ParamRef& magnitude = matrix.adapter->magnitude;
      if (!magnitude.present()) continue;
      const std::vector<float>& weight = c.recorded[static_cast<size_t>(matrix.weight.at(depth))];
      const std::vector<float>& recorded = c.recorded[static_cast<size_t>(magnitude.at(depth))];
      const size_t columns = weight.size() / recorded.size();
      std::vector<double> squares(recorded.size());
      for (size_t i = 0; i < weight.size(); ++i) squares[i / columns] += double{weight[i]} * weight[i];
      std::vector<float> norms;
      for (double sum : squares) norms.push_back(static_cast<float>(std::sqrt(sum)));
      report.compare("weights", c.plan.params[static_cast<size_t>(magnitude.at(depth))].name,
                     Kind::kParameters, norms, recorded);
    }
  });
}

// Whether the head is the embedding, and whether it has the same values.
Status compare_head(const CaseRequest& request, const Uptraining& c, Report& report) {
  FATHOM_ASSIGN(const json record, read_json_file(request.directory + "/case.json"));
  const auto compare = [&](const char* key, bool got) {
    if (const auto found = record.find(key); found != record.end() && found->is_boolean())
      report.compare("weights", std::string("case.json: ") + key, Kind::kSelections, got ? 1.0 : 0.0,
                     found->get<bool>() ? 1.0 : 0.0);
  };
  const auto head = static_cast<size_t>(c.plan.head.first),
             embedding = static_cast<size_t>(c.plan.embedding.first);
  compare("lm_head_shares_storage", head == embedding);
  compare("lm_head_equals_embedding", c.recorded[head] == c.recorded[embedding]);
  return {};
}

// A parameter that the vanilla model has not, or that the published code did not take from it.
void compare_drawn(const Uptraining& c, const std::string& what, size_t param, const Init& init,
                   Report& report) {
  Tally tally;
  tally.expect(is_drawn(c.recorded[param], init), true);
  tally.report(report, "weights", what + ": drawn anew by the published code");
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
  FATHOM_ASSIGN(ModelSpec spec, load_spec(request.directory));
  if (!spec.initialization)
    return invalid(request.directory + "/config.json: authors_config.recursive.initialization is missing");
  Uptraining c;
  FATHOM_ASSIGN(c.source, WeightFiles::open(request.directory + "/source.safetensors"));
  FATHOM_ASSIGN(const WeightFiles recorded, WeightFiles::open(request.directory + "/weights.safetensors"));
  // The configuration may say how many layers are left.
  spec.num_hidden_layers = std::max(spec.num_hidden_layers, layers_in(c.source));
  FATHOM_ASSIGN(c.plan, build_plan(spec));
  // The published class of recursive models finds no head in the file of a tied one, and draws it.
  c.tied = c.source.find("lm_head.weight") == nullptr;
  c.recorded = values_of(c.plan, 0);
  FATHOM_TRY(read_parameters(c.plan, naming_of(c.plan), recorded, into(c.recorded)));

  DrawPlaces draw = draw_with(0);
  if (spec.initialization == Initialization::kRandom) {
    FATHOM_ASSIGN(std::vector<int32_t> drawn, places_drawn(c));
    draw = [drawn = std::move(drawn)](int32_t, int32_t, int32_t) { return drawn; };
  }
  FATHOM_ASSIGN(const Values made, c.made(draw));
  const bool by_products = spec.relaxation && spec.relaxation->svd_init != SvdInit::kNone;
  for (size_t p = 0; p < made.size(); ++p) {
    const Param& param = c.plan.params[p];
    if (param.role == ParamRole::kHead && c.tied) {
      compare_drawn(c, "head", p, param.init, report);
    } else if (!std::isnan(made[p].front())) {
      const Init anew{.kind = InitKind::kUniform,
                      .a = 1 / std::sqrt(static_cast<double>(param.shape.back()))};
      if (made_anew(c.plan, p) && made[p] != c.recorded[p] && is_drawn(c.recorded[p], anew)) {
        compare_drawn(c, param.name, p, anew, report);
      } else {
        report.compare("weights", param.name, Kind::kSelections, made[p], c.recorded[p]);
      }
    } else if (param.init.kind != InitKind::kRowNorms &&
               !(by_products && param.role == ParamRole::kAdapterMatrix)) {
      compare_drawn(c, param.name, p, param.init, report);  // the training half compares products
    }
  }
  compare_magnitudes(c, report);
  return compare_head(request, c, report);
}

}  // namespace fathom::cli::verify
