// The families of architectures: each turns a checked spec into an unvalidated plan.
#pragma once

#include "base/result.h"
#include "plan/model_plan.h"

namespace fathom {

// Llama, recursive Llama and Mixture-of-Recursions (Mixture-of-Recursions, sections 1 to 4).
Result<ModelPlan> llama_plan(const ModelSpec& spec);

// Transformer++, Samba, YOCO types, SambaY and its variants, Phi-4-mini-flash (Decoder-Hybrid-Decoder).
Result<ModelPlan> hybrid_plan(const ModelSpec& spec);

}  // namespace fathom
