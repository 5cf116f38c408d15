// Figures that follow from the plan alone.
#pragma once

#include <cstdint>

#include "plan/model_plan.h"

namespace fathom {

struct ParameterCount {
  int64_t unique = 0;     // every parameter once
  int64_t total = 0;      // as if unrolled: shared layers counted at every depth
  int64_t embedding = 0;  // the embedding matrix (and an untied head is `head`)
  int64_t head = 0;       // 0 when tied
  int64_t router = 0;
  int64_t relaxation = 0;  // adapters, prompts, encodings: what depths of shared layers have for themselves
  int64_t final_norm = 0;
  int64_t non_embedding() const { return unique - embedding - head; }
};
ParameterCount count_parameters(const ModelPlan& plan);

// Scores of one depth of a routed segment, per token of the model: expert choice asks the tokens that the
// depth before kept; token choice asks all, once.
double count_router_flops(const ModelPlan& plan, const Segment& segment, int32_t depth);

// Floating-point operations of one forward pass per token at context length `context` (a multiply-add is
// two), averaged over the positions of a sequence of that length, routed segments weighted by their
// capacities.
struct FlopCount {
  double linear = 0;     // matrix products of the layers
  double attention = 0;  // scores and weighted sums, causal and windowed
  double scan = 0;       // convolutions and recurrences
  double head = 0;
  double router = 0;
  double total() const { return linear + attention + scan + head + router; }
};
FlopCount count_flops(const ModelPlan& plan, int64_t context);

// Keys that a query sees, averaged over the positions of a sequence of `length` tokens; window 0 sees all.
double mean_keys(double length, int64_t window);
// One layer at one depth, in the same sense: averaged over all tokens, also those that do not come this far.
FlopCount count_layer_flops(const ModelPlan& plan, const Segment& segment, const Layer& layer, int32_t depth,
                            int64_t context);
// What of it a token needs for the sake of later ones alone: in attention its keys and values, elsewhere the
// whole mixer. Of a layer without a router.
FlopCount count_layer_state_flops(const ModelPlan& plan, const Layer& layer);
// One depth of a layer.
int64_t count_layer_parameters(const ModelPlan& plan, const Layer& layer);

// The Mixture-of-Recursions paper's own accounting (forward, no embedding or head, K and V as full D x D,
// attention 2 T D per layer). Per token. Only where paper_flops_apply(): every layer is self-attention over
// all keys.
double paper_flops(const ModelPlan& plan, int64_t context);
bool paper_flops_apply(const ModelPlan& plan);

// Bytes of persistent state of one sequence. SSM and convolution states are float; KV entries have `kv_type`.
// Depths of a routed segment hold the tokens that they keep: capacities weigh the growth per token.
struct StateBytes {
  int64_t per_token = 0;       // growth with each token (full KV), all depths
  int64_t per_token_most = 0;  // the same for a token that takes every depth
  int64_t per_sequence = 0;    // constant part (windows at their full size, SSM states)
};
StateBytes count_state(const ModelPlan& plan, DType kv_type);
// What one layer of `segment` keeps, all depths.
StateBytes count_layer_state(const ModelPlan& plan, const Segment& segment, const Layer& layer,
                             DType kv_type);

}  // namespace fathom
