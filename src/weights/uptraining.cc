#include "weights/uptraining.h"

#include <filesystem>
#include <vector>

#include "base/check.h"
#include "plan/spec_io.h"
#include "weights/checkpoint.h"

namespace fathom {

namespace {

// Of the layers that recursive models are made of.
std::vector<ParamRef> params_of(const Layer& layer) {
  const auto& a = std::get<Attention>(layer.mixer);
  return {a.q,
          a.k,
          a.v,
          a.o,
          a.q_bias,
          a.k_bias,
          a.v_bias,
          a.o_bias,
          layer.mlp.gate,
          layer.mlp.up,
          layer.mlp.down,
          layer.norm1.weight,
          layer.norm2.weight};
}

// Which parameters of a vanilla model each parameter of a recursive one is the mean of.
class SourceMap {
 public:
  SourceMap(const ModelPlan& plan, const ModelPlan& vanilla, const LayerSources& layers)
      : targets_(vanilla.params.size()), sources_(plan.params.size(), 0) {
    add(plan.embedding.first, {vanilla.embedding.first});
    if (plan.head.first != plan.embedding.first) add(plan.head.first, {vanilla.head.first});
    add(plan.final_norm.weight.first, {vanilla.final_norm.weight.first});
    size_t unrolled = 0;
    for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t depth) {
      add_layer(layer, depth, vanilla.segments.front().layers, layers.sources[unrolled++]);
    });
    FATHOM_CHECK(unrolled == layers.sources.size(), "a plan unrolls to the layers that have sources");
  }

  const std::vector<int32_t>& targets(int32_t vanilla_param) const {
    return targets_[static_cast<size_t>(vanilla_param)];
  }
  // How many parameters of the vanilla model a parameter is the mean of.
  int32_t sources(int32_t param) const { return sources_[static_cast<size_t>(param)]; }

 private:
  void add_layer(const Layer& layer, int32_t depth, const std::vector<Layer>& vanilla,
                 const std::vector<int32_t>& sources) {
    const std::vector<ParamRef> refs = params_of(layer);
    for (size_t i = 0; i < refs.size(); ++i) {
      if (!refs[i].present()) continue;
      std::vector<int32_t> params;
      for (int32_t source : sources)
        params.push_back(params_of(vanilla[static_cast<size_t>(source)])[i].first);
      add(refs[i].at(depth), params);
    }
  }

  // Once for a parameter of several depths, whose sources are the same.
  void add(int32_t param, const std::vector<int32_t>& sources) {
    int32_t& known = sources_[static_cast<size_t>(param)];
    if (known > 0) return;
    known = static_cast<int32_t>(sources.size());
    for (int32_t source : sources) targets_[static_cast<size_t>(source)].push_back(param);
  }

  std::vector<std::vector<int32_t>> targets_;
  std::vector<int32_t> sources_;
};

}  // namespace

ModelSpec vanilla_spec(const ModelSpec& recursive, bool tied) {
  ModelSpec spec = recursive;
  const ModelSpec plain;
  spec.sharing = plain.sharing;
  spec.num_recursion = plain.num_recursion;
  spec.share_norms = plain.share_norms;
  spec.share_attention = plain.share_attention;
  spec.kv = plain.kv;
  spec.initialization = plain.initialization;
  spec.base_depth = plain.base_depth;
  spec.router = plain.router;
  spec.relaxation = plain.relaxation;
  spec.tie_word_embeddings = tied;
  return spec;
}

Status read_uptrained(const ModelPlan& plan, const WeightFiles& files, bool vanilla_tied,
                      const DrawPlaces& draw,
                      const std::function<std::span<float>(int32_t parameter)>& parameter) {
  FATHOM_CHECK(plan.spec.initialization.has_value(), "a start from a vanilla model has a rule");
  if (!vanilla_tied && plan.spec.tie_word_embeddings) {
    return invalid(files.path() +
                   ": has a head of its own, but the model's is its embedding; expected "
                   "tie_word_embeddings = false");
  }
  FATHOM_ASSIGN(const ModelPlan vanilla, build_plan(vanilla_spec(plan.spec, vanilla_tied)));
  const SourceMap map(plan, vanilla, layer_sources(plan.spec, *plan.spec.initialization, draw));
  std::vector<int32_t> added(plan.params.size(), 0);
  return visit_parameters(
      vanilla, naming_of(vanilla), files, [&](int32_t source, int64_t first, std::span<const float> values) {
        // Sources come one after the other, each from its first value on, and a parameter's differ.
        for (int32_t target : map.targets(source)) {
          const std::span<float> sum = parameter(target).subspan(static_cast<size_t>(first), values.size());
          int32_t& number = added[static_cast<size_t>(target)];
          if (first == 0) ++number;
          const int32_t all = map.sources(target);
          for (size_t i = 0; i < values.size(); ++i) {
            const float before = number == 1 ? 0.0F : sum[i];
            sum[i] = number < all ? before + values[i] : (before + values[i]) / static_cast<float>(all);
          }
        }
      });
}

Result<std::optional<ModelPlan>> read_start(
    const ModelPlan& plan, const std::string& path, uint64_t seed,
    const std::function<std::span<float>(int32_t parameter)>& parameter) {
  FATHOM_ASSIGN(const WeightFiles files, WeightFiles::open(path));
  std::error_code ignored;
  const bool described = std::filesystem::exists(std::filesystem::path(path) / "config.json", ignored);
  std::optional<ModelSpec> vanilla;
  if (plan.spec.sharing != Sharing::kNone && described) {
    FATHOM_ASSIGN(const ModelSpec found, load_spec(path));
    if (found.sharing == Sharing::kNone) vanilla = found;
  }
  if (!vanilla) {
    FATHOM_TRY(read_parameters(plan, naming_of(plan), files, parameter));
    return std::optional<ModelPlan>();
  }
  const ModelSpec& source = *vanilla;
  if (!plan.spec.initialization) {
    return invalid(
        "initialization: absent, but " + path +
        " holds a vanilla model and this one has shared layers; expected \"stepwise\", \"average\", "
        "\"lower\", \"upper\" or \"random\"");
  }
  if (source.num_hidden_layers != plan.spec.num_hidden_layers) {
    return invalid(path + ": has " + std::to_string(source.num_hidden_layers) +
                   " layers, expected num_hidden_layers = " + std::to_string(plan.spec.num_hidden_layers) +
                   " as the model that they start");
  }
  FATHOM_TRY(read_uptrained(plan, files, source.tie_word_embeddings, draw_with(seed), parameter));
  FATHOM_ASSIGN(ModelPlan built, build_plan(vanilla_spec(plan.spec, source.tie_word_embeddings)));
  return std::optional<ModelPlan>(std::move(built));
}

}  // namespace fathom
