// What running a plan costs at the least: FLOPs of a stretch of positions, bytes that decoding moves. Benches
// divide these by what the machine can do. Pure functions of the plan; routed segments are weighted by their
// capacities, which with_depth_shares() replaces by the shares that were met.
#pragma once

#include <cstdint>
#include <span>

#include "plan/count.h"
#include "plan/matrix_types.h"

namespace fathom {

// Operations of the tokens at positions [begin, end) of one sequence, all of them together; logits of
// `logit_rows` of them. begin < end.
FlopCount count_work(const ModelPlan& plan, int64_t begin, int64_t end, int64_t logit_rows);

// The same with the prefill shortcut (plan/model_plan.h): only the last `wanted` of the tokens, in [0, end -
// begin], go past the last layer that keeps state, and have logits.
FlopCount count_prefill_work(const ModelPlan& plan, int64_t begin, int64_t end, int64_t wanted);

// Bytes through memory for one token that is decoded alone. A parameter counts as often as the token meets
// it: the layers of a recursion once a depth.
struct DecodeBytes {
  double products = 0;  // matrices of the layers
  double head = 0;
  double small = 0;  // norms, biases, convolutions, SSM parameters, routers, one row of the embedding
  double kv = 0;     // keys and values: those attended, and the token's own, written
  double conv = 0;   // convolution states, read and written
  double ssm = 0;    // SSM states, read and written
  double weights() const { return products + head + small; }
  double state() const { return conv + ssm; }
  double total() const { return weights() + kv + state(); }
};
// A mean over the positions [begin, end), begin < end. Matrices have `matrix_type` (plan/matrix_types.h),
// keys and values `kv_type`.
DecodeBytes count_decode_bytes(const ModelPlan& plan, int64_t begin, int64_t end,
                               const MatrixTypes& matrix_type, DType kv_type);

// Bytes of all parameters in memory, each once.
int64_t count_weight_bytes(const ModelPlan& plan, const MatrixTypes& matrix_type);

// The plan with `shares` as the capacities of its routed segment: share[r] is the part of the tokens that ran
// depth r. Depths beyond `shares` were run by none.
ModelPlan with_depth_shares(const ModelPlan& plan, std::span<const double> shares);

}  // namespace fathom
