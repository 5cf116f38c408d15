// The model as data. A plan is what every part of Fathom walks: the two executors, the counters of
// parameters, FLOPs and bytes, checkpoint naming, validation. Nothing in it depends on tensors or on a
// machine.
//
//   plan = embedding -> segments -> final norm -> head
//   segment = layers, run `repeat` times; with a router each time on the rows that the router keeps
//   layer = x += s * mixer(norm1(x)); x += s * mlp(norm2(x))
//
// Depth r in [0, repeat) is the recursion step inside a segment. A parameter that is shared by all depths has
// ParamRef::stride 0; one of each depth has stride > 0. Persistent slots written inside a repeated segment
// have `copies == repeat`, one state per depth.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "plan/model_spec.h"

namespace fathom {

// ----------------------------------------------------------------------------------------------------
// parameters

// What a parameter is, for optimizer groups, for what stays in float when weights are bfloat16, and for
// counting.
enum class ParamRole : uint8_t {
  kEmbedding,
  kHead,
  kMatrix,         // [out, in] of a linear layer
  kRateMatrix,     // one whose outputs are rates of a recurrence: how fast it forgets, how much it writes
  kAdapterMatrix,  // A or B of a low-rank change
  kBias,
  kNorm,
  kConv,  // [channels, width]
  kSsmA,  // A_log, [inner, state] of Mamba, else [heads]
  kSsmD,
  kDtBias,
  kRouter,
  kAuxRouter,   // a router with an optimizer of its own, which learns beside the model
  kRouterBias,  // moved by the balancing of loads, without a gradient
  kLambda,      // differential attention
  kRelaxation   // magnitudes, prompts, their gates, recursion encodings: all but the matrices of adapters
};

inline bool is_matrix(ParamRole role) {
  return role == ParamRole::kMatrix || role == ParamRole::kRateMatrix || role == ParamRole::kAdapterMatrix;
}

// Matrices may be bfloat16; everything small or fragile (norms, biases, convolution, SSM, routers, lambda)
// stays float. What may be int8 is in plan/matrix_types.h.
inline bool may_be_bf16(ParamRole role) {
  return is_matrix(role) || role == ParamRole::kEmbedding || role == ParamRole::kHead;
}

inline bool is_router(ParamRole role) {
  return role == ParamRole::kRouter || role == ParamRole::kAuxRouter || role == ParamRole::kRouterBias;
}

// How a fresh parameter is filled. Normal(0, a); Uniform(-a, a); constant a; log(1..cols) along the last
// dimension (Mamba A_log); log of U(a, b) clamped at `floor` (A_log of heads); inverse softplus of
// exp(U(log a, log b)) clamped at `floor` (dt biases); the norms of the rows of an adapted matrix (what other
// parameters start from decides: train/parameters.h).
enum class InitKind : uint8_t {
  kNormal,
  kUniform,
  kConstant,
  kLogRange,
  kLogUniform,
  kInverseSoftplusDt,
  kRowNorms
};
struct Init {
  InitKind kind = InitKind::kNormal;
  double a = 0.02;
  double b = 0;
  double floor = 0;
};

struct Param {
  std::string name;  // Fathom's own, e.g. "layers.3.attention.q"; file names come from plan/naming.h
  std::vector<int64_t> shape;
  ParamRole role;
  Init init;
};

// Product of the extents.
int64_t elements_of(const Param& param);

// Index into ModelPlan::params as a function of depth; none() where the block has no such parameter.
struct ParamRef {
  int32_t first = -1;
  int32_t stride = 0;
  bool present() const { return first >= 0; }
  int32_t at(int32_t depth) const { return first + stride * depth; }
};

// --------------------------------------------------------------------------------------------------------
// blocks

enum class NormKind : uint8_t { kRmsNorm, kLayerNorm };
struct Norm {
  NormKind kind = NormKind::kRmsNorm;
  ParamRef weight;  // [dim]
  ParamRef bias;    // [dim], LayerNorm only
  double eps = 1e-5;
};

// Rotary embedding, half-split layout over the whole head. Tables are computed in float; they, or the inverse
// frequencies before them, are rounded to bfloat16 if asked.
struct Rope {
  double theta = 10000;
  bool table_bf16 = false;
  bool frequencies_bf16 = false;
  bool operator==(const Rope&) const = default;
};

// Differential attention (arXiv 2410.05258) with heads paired even/odd; lambda_init = 0.8 - 0.6 exp(-0.3
// layer).
struct Differential {
  double lambda_init = 0;
  ParamRef lambda_q1, lambda_k1, lambda_q2, lambda_k2;  // [head_dim]
  ParamRef sub_norm;                                    // [2 * head_dim], an RMSNorm with `eps`
  double eps = 1e-5;
};

// A low-rank change of a projection W (LoRA, arXiv 2106.09685), usually one for each depth of shared layers:
//
//   y = W x + scaling * B (A drop(x))
//
// and with a magnitude m (DoRA, arXiv 2402.09353), where the norm is of each row and, as published, a
// constant on the way back; a bias is added behind it:
//
//   y = m (W x + scaling * B (A drop(x))) / ||W + scaling * B A||
//
// drop() is the identity but in training.
struct Adapter {
  ParamRef a;          // [rank, in]
  ParamRef b;          // [out, rank]
  ParamRef magnitude;  // [out], DoRA only
  int64_t rank = 0;
  double scaling = 1;
  double dropout = 0;  // share of x that A does not see in training
  bool present() const { return a.present(); }
};

// What a layer's queries attend beside its keys (LLaMA-Adapter, arXiv 2303.16199; as Mixture-of-Recursions
// has it): the prompt's keys Wk P and values Wv P, without positions, under a softmax of their own; its
// output times the gate is added to that of attention, before the output projection.
struct AdaptionPrompt {
  int64_t length = 0;
  ParamRef tokens;  // [1, length, hidden]
  ParamRef gate;    // [1]
};

// Attention over the layer's own keys (cross == false: computes k and v, writes them to its slot) or over the
// keys of another layer (cross == true: no k, v; Layer::reads names the slot).
struct Attention {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t window = 0;  // keys seen, itself included; 0: all
  double scale = 0;    // of the logits
  bool cross = false;
  std::optional<Rope> rope;
  std::optional<Differential> differential;
  ParamRef q, k, v, o;  // [heads * head_dim, hidden], [kv * head_dim, hidden] x 2, [hidden, heads * head_dim]
  ParamRef q_bias, k_bias, v_bias, o_bias;  // optional
  Adapter q_adapter, k_adapter, v_adapter, o_adapter;
  std::optional<AdaptionPrompt> prompt;
  // Neighbouring KV heads whose keys make maps of their own over the values of all of them.
  int64_t stripes() const { return differential ? 2 : 1; }
};

// Mamba-1 (arXiv 2312.00752). The memory of gated memory units is y before the gate
// (Decoder-Hybrid-Decoder, 2.2).
struct Mamba {
  int64_t inner = 0;     // e
  int64_t state = 0;     // N
  int64_t conv = 0;      // K
  int64_t dt_rank = 0;   // r
  ParamRef in_x, in_z;   // [inner, hidden] each: the first and second half of the published in_proj
  ParamRef conv_weight;  // [inner, conv]
  ParamRef conv_bias;    // [inner]
  ParamRef x_proj;       // [dt_rank + 2 * state, inner]: dt, B, C
  ParamRef dt_proj;      // [inner, dt_rank]
  ParamRef dt_bias;      // [inner]
  ParamRef a_log;        // [inner, state]
  ParamRef d;            // [inner]
  ParamRef out_proj;     // [hidden, inner]
};

// Mamba-2 (arXiv 2405.21060): a scalar decay for each head, one convolution over x, B and C, and a norm
// behind the gate: out_proj(norm(y * silu(z))). The memory is y (Decoder-Hybrid-Decoder, 2.7).
struct Mamba2 {
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t state = 0;
  int64_t groups = 1;  // of B and C; divides heads
  int64_t conv = 0;    // K
  double norm_eps = 0;
  ParamRef in_z;         // [inner, hidden]
  ParamRef in_xbc;       // [channels, hidden]: x, B, C
  ParamRef in_dt;        // [heads, hidden]; the published in_proj is z, x, B, C, dt
  ParamRef conv_weight;  // [channels, conv]
  ParamRef conv_bias;    // [channels]
  ParamRef dt_bias;      // [heads]
  ParamRef a_log;        // [heads]
  ParamRef d;            // [heads]
  ParamRef norm;         // [inner]
  ParamRef out_proj;     // [hidden, inner]
  int64_t inner() const { return heads * head_dim; }
  int64_t channels() const { return inner() + 2 * groups * state; }
};

// Gated DeltaNet (arXiv 2412.06464) with negative eigenvalues and the norm behind the gate:
// o(norm(y * silu(g))). The memory is y (Decoder-Hybrid-Decoder, 2.7).
struct GatedDelta {
  int64_t heads = 0;
  int64_t key_dim = 0;    // of one head
  int64_t value_dim = 0;  // of one head
  int64_t conv = 0;       // K
  double norm_eps = 0;
  ParamRef q, k;            // [keys, hidden]
  ParamRef v, g;            // [values, hidden]
  ParamRef a, b;            // [heads, hidden]: of the decay and of beta
  ParamRef q_conv, k_conv;  // [keys, conv], without bias
  ParamRef v_conv;          // [values, conv]
  ParamRef dt_bias;         // [heads]
  ParamRef a_log;           // [heads]
  ParamRef norm;            // [values]
  ParamRef o;               // [hidden, values]
  int64_t keys() const { return heads * key_dim; }
  int64_t values() const { return heads * value_dim; }
};

// Gated memory unit: W2 (mem * silu(W1 u)), or W2 norm(mem * silu(W1 u)).
struct GatedMemory {
  int64_t inner = 0;
  double norm_eps = 0;
  ParamRef in_proj;   // [inner, hidden]
  ParamRef norm;      // [inner], optional
  ParamRef out_proj;  // [hidden, inner]
};

using Mixer = std::variant<Attention, Mamba, Mamba2, GatedDelta, GatedMemory>;

// SwiGLU: down (up * silu(gate)).
struct Mlp {
  int64_t inner = 0;
  ParamRef gate, up;  // [inner, hidden]
  ParamRef down;      // [hidden, inner]
  Adapter gate_adapter, up_adapter, down_adapter;
};

// ---------------------------------------------------------------------------------------------------------
// slots

enum class SlotKind : uint8_t { kKv, kWindowKv, kSsmState, kGmuMemory };
using SlotId = int32_t;

// What a sequence remembers. kKv grows with the sequence, kWindowKv is a ring of `window` entries, kSsmState
// is the last inputs of convolutions and the state of a recurrence, kGmuMemory lives for one forward call.
struct Slot {
  std::string name;  // "kv.5"
  SlotKind kind = SlotKind::kKv;
  int32_t copies = 1;                                  // one state per depth
  int64_t num_kv_heads = 0, head_dim = 0, window = 0;  // kKv, kWindowKv
  // kSsmState: [inner, state] and [conv - 1, channels]; kGmuMemory: inner.
  int64_t inner = 0, state = 0, conv = 0, channels = 0;
  bool persistent() const { return kind != SlotKind::kGmuMemory; }
};

// ------------------------------------------------------------------------------------------------- layers
// and plan

enum class BlockKind : uint8_t { kAttention, kCrossAttention, kMamba, kMamba2, kGatedDelta, kGatedMemory };

// What a layer that writes a kGmuMemory slot puts there.
enum class MemorySource : uint8_t {
  kMixer,  // recurrent: y before the gate; attention: all heads, before the output projection
  kMlpUp   // the up half of the MLP, before the product with silu(gate)
};

struct Layer {
  int32_t index = 0;  // of the first unrolled layer this one is; its number in messages and tables
  Norm norm1, norm2;
  Mixer mixer;
  Mlp mlp;
  std::vector<SlotId> writes, reads;
  MemorySource memory = MemorySource::kMixer;
  ParamRef encoding;  // [hidden], optional: multiplies what the layer hands on
  BlockKind kind() const;
};

// How the output Y of one pass over the segment's layers joins its input H.
enum class Combine : uint8_t {
  kReplace,   // H' = Y (plain recursion)
  kWeighted,  // H' = H + w Y on the routed rows (Mixture-of-Recursions, expert choice)
  kAdditive   // H' = H + Y on the routed rows
};

struct Router {
  RouterSpec spec;  // capacity and threshold filled in, one entry per depth
  ParamRef weight;  // expert choice: [1, in] per depth; token choice: [repeat, in], one for all depths;
                    // none for random scores
  ParamRef hidden;  // MLP routers: [m, hidden_size], then in = m = mlp_ratio * hidden_size, else hidden_size
  ParamRef aux_weight, aux_hidden;  // the second router of RouterLoss::kAuxRouter, same shapes
  ParamRef bias;                    // [repeat], of RouterLoss::kLossFree
};

struct Segment {
  std::vector<Layer> layers;
  int32_t repeat = 1;
  Combine combine = Combine::kReplace;
  KvMode kv = KvMode::kRecursionWise;
  std::optional<Router> router;
};

// Which keys and values an attention layer sees at a depth.
enum class KeySource : uint8_t {
  kOwn,         // those that it writes now and wrote before, at this depth
  kOther,       // those of another layer
  kFirstDepth,  // those that it wrote at depth 0, of every token
  kMerged       // the same, but its own of this depth where there are any
};
KeySource key_source(const Segment& segment, const Layer& layer, int32_t depth);

// Whether this use of an attention layer projects keys and values, and so reads what adapts them.
bool makes_keys(const Segment& segment, const Layer& layer, int32_t depth);

// The share of all tokens that the layers of a segment run on at a depth, by the router's capacities. Depth 0
// runs on all where later ones read its keys, whichever its router keeps.
double running_share(const Segment& segment, int32_t depth);

// Whether the slots of a segment's keys have one copy for each depth. A copy of KvMode::kHybrid holds an
// entry for every token, one of KvMode::kRecursionWise those of the tokens that came to its depth.
inline bool keys_per_depth(KvMode kv) { return kv != KvMode::kShared; }

struct Dims {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t max_positions = 0;
};

struct ModelPlan {
  ModelSpec spec;  // what it was built from
  Dims dims;
  std::vector<Param> params;
  std::vector<Slot> slots;
  std::vector<Segment> segments;
  Norm final_norm;
  ParamRef embedding;  // [vocab, hidden]
  ParamRef head;       // [vocab, hidden]; the embedding itself when tied
  double residual_scale = 1;
  double logit_scale = 1;  // multiplies the final norm's output

  int64_t num_unrolled_layers() const;
};

// The matrix that an adapter of `layer` changes, and which projection that is.
struct AdaptedMatrix {
  Projection projection;
  ParamRef weight;
  const Adapter* adapter;
};
std::vector<AdaptedMatrix> adapted_matrices(const Layer& layer);

// Builds and validates. Errors name the field, or the layer and the slot, that is wrong.
Result<ModelPlan> build_plan(const ModelSpec& spec);

// Structure that build_plan() guarantees and that hand-made plans must have: every read slot is written by an
// earlier layer, shapes agree, windows are positive, per-depth copies match, ... Message: "layer 5: reads
// slot mem.4, which ...".
Status validate(const ModelPlan& plan);

// Whether no layer from unrolled layer `first` on writes a persistent slot, which a prefill shortcut from
// there claims. Message: "layer 7: writes slot kv.7, but the prefill shortcut is claimed from layer 6 on".
Status check_prefill_shortcut(const ModelPlan& plan, int64_t first);

// Whether any segment has a router, and the passes of the deepest one; 0 without.
bool is_routed(const ModelPlan& plan);
int32_t most_passes(const ModelPlan& plan);

// Calls visit(segment, layer, depth) in the order of execution, all depths unrolled.
template <class Visit>
void for_each_unrolled_layer(const ModelPlan& plan, const Visit& visit) {
  for (const Segment& segment : plan.segments) {
    for (int32_t depth = 0; depth < segment.repeat; ++depth) {
      for (const Layer& layer : segment.layers) visit(segment, layer, depth);
    }
  }
}

// The last unrolled layer that writes a persistent slot, -1 if none does. Rows whose logits nobody wants may
// stop there: what is behind it, and in an attention layer all but its keys and values, is seen by nobody.
int32_t last_state_layer(const ModelPlan& plan);

// The prefill shortcut applies from unrolled layer `*` on, behind last_state_layer(). Nothing if that is the
// last layer.
std::optional<int32_t> prefill_shortcut_layer(const ModelPlan& plan);

// Whether a router stands behind last_state_layer(), so that rows whose logits nobody wants never come to it.
bool routes_behind_state(const ModelPlan& plan);

}  // namespace fathom
