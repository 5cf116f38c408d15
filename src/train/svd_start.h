// LoRA's start from a vanilla model (Mixture-of-Recursions, relaxation): adapters that give back what sharing
// took from each layer, as far as their rank goes.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "plan/model_plan.h"
#include "train/parameters.h"

namespace fathom::train {

// The matrix of a projection, [out, in], that the vanilla model has at layer `layer` of its own.
using SourceMatrix = std::function<std::span<const float>(int64_t layer, Projection projection)>;

// The matrices of a plan of one segment without recursion. Plan and parameters outlive the function.
SourceMatrix matrices_of(const ModelPlan& vanilla, const Parameters& parameters);

// Fills the adapters in `parameters`, where the shared matrices stand already. With U S V^T the singular
// value decomposition (in double) of what the source has beyond the shared matrix, A is the first rank rows
// of V^T and B the first columns of U times their singular values: B A is the best change of that rank. The
// model applies scaling * B A. kPublished leaves it there; kExact divides B by the scaling, so that what is
// applied is the best change. Magnitudes follow. The plan's relaxation has an svd_init.
void start_adapters(const ModelPlan& plan, const SourceMatrix& source, Parameters& parameters);

}  // namespace fathom::train
