// Uptraining: a recursive model that starts from a trained vanilla one of the same unrolled depth
// (Mixture-of-Recursions 2.3; plan/layer_sources.h has the rules).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "io/weight_files.h"
#include "plan/layer_sources.h"
#include "plan/model_plan.h"

namespace fathom {

// The vanilla model whose layers can fill those of `recursive`: as many layers as it unrolls before any are
// dropped, no recursions. `tied`: its head is the embedding.
ModelSpec vanilla_spec(const ModelSpec& recursive, bool tied);

// Fills each parameter(p) of `plan` that has sources among those of the vanilla checkpoint `files`: layers by
// the plan's initialization, which must be set; norms by the same rule, also where recursions have their own;
// embedding and final norm; an untied head from the vanilla one, or as a copy of the embedding that was its
// head (the published class draws it anew if the file of the tied model does not repeat it). Means are sums
// in float, in the order of layers, divided by their number. Routers have no source and stay as they are.
//
// Errors: those of read_parameters() for the vanilla model; a vanilla head that a tied model has no place
// for.
Status read_uptrained(const ModelPlan& plan, const WeightFiles& files, bool vanilla_tied,
                      const DrawPlaces& draw,
                      const std::function<std::span<float>(int32_t parameter)>& parameter);

// What a run starts from: the weights at `path`, a model directory or file, of the same model; or, if `plan`
// is recursive and the directory's config.json describes a vanilla model, those of read_uptrained(), drawn
// with `seed`. Parameters without a source keep their values. The plan of the vanilla model, if it was one.
//
// Errors: a vanilla model with another number of layers, or for a spec without initialization.
Result<std::optional<ModelPlan>> read_start(
    const ModelPlan& plan, const std::string& path, uint64_t seed,
    const std::function<std::span<float>(int32_t parameter)>& parameter);

}  // namespace fathom
