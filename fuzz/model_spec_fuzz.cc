// Any text as a model: JSON in one of the dialects of config.json if it begins with '{', else TOML. What is
// accepted can be counted without overflow, and is the same model when it is written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "plan/count.h"
#include "plan/describe.h"
#include "plan/layer_sources.h"
#include "plan/naming.h"
#include "plan/plan_figures.h"
#include "plan/spec_io.h"

namespace {

using fathom::ModelPlan;
using fathom::ModelSpec;

bool same_parameters(const ModelPlan& a, const ModelPlan& b) {
  if (a.params.size() != b.params.size()) return false;
  for (size_t i = 0; i < a.params.size(); ++i) {
    if (a.params[i].name != b.params[i].name || a.params[i].shape != b.params[i].shape) return false;
  }
  return true;
}

// Each layer of a recursive model starts from layers that its vanilla model has, by every rule.
void use_sources(const ModelPlan& plan) {
  using fathom::Initialization;
  if (plan.spec.sharing == fathom::Sharing::kNone) return;
  for (Initialization rule : {Initialization::kRandom, Initialization::kStepwise, Initialization::kAverage,
                              Initialization::kLower, Initialization::kUpper}) {
    const fathom::LayerSources layers = fathom::layer_sources(plan.spec, rule, fathom::draw_with(1));
    if (static_cast<int64_t>(layers.sources.size()) != plan.num_unrolled_layers()) std::abort();
    for (const std::vector<int32_t>& sources : layers.sources) {
      if (sources.empty()) std::abort();
      for (int32_t source : sources) {
        if (source < 0 || source >= plan.spec.num_hidden_layers) std::abort();
      }
    }
  }
}

void use(const ModelPlan& plan) {
  use_sources(plan);
  const fathom::PlanFigures figures = fathom::figures_of(plan, plan.dims.max_positions, fathom::DType::kF32);
  if (figures.parameters.unique <= 0 || figures.parameters.total < figures.parameters.final_norm)
    std::abort();
  if (!(figures.flops.total() > 0) || figures.state.per_token < 0 || figures.state.per_sequence < 0)
    std::abort();
  const std::string written = fathom::write_config_json(plan.spec);
  const auto again = fathom::parse_config_json(written, "config.json");
  if (!again.ok()) std::abort();
  const auto rebuilt = fathom::build_plan(*again);
  if (!rebuilt.ok() || !same_parameters(plan, *rebuilt)) std::abort();
  if (fathom::write_config_json(rebuilt->spec) != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto spec = text.starts_with('{') ? fathom::parse_config_json(text, "config.json")
                                          : fathom::parse_spec_toml(text, "spec.toml");
  if (!spec.ok()) {
    if (spec.error().message.empty()) std::abort();
    return 0;
  }
  const auto plan = fathom::build_plan(*spec);
  if (plan.ok()) use(*plan);
  if (!plan.ok() && plan.error().message.empty()) std::abort();
  return 0;
}
