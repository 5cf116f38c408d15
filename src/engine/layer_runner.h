// One layer of a plan over one set of rows: x += s mixer(norm1(x)); x += s mlp(norm2(x)).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "engine/numerics.h"
#include "engine/op_observer.h"
#include "engine/rows.h"
#include "engine/scratch.h"
#include "kernels/attention/attention.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/gated_delta/gated_delta.h"
#include "kernels/selective_scan/selective_scan.h"
#include "kernels/ssd_scan/ssd_scan.h"
#include "plan/model_plan.h"
#include "state/sequence_state.h"
#include "weights/weights.h"

namespace fathom {

class LayerRunner {
 public:
  LayerRunner(const ModelPlan& plan, const Weights& weights, int64_t max_rows, int64_t context,
              Parallel& parallel, const Numerics& numerics);

  // Adds the two branches of the segment's layer to x, [rows, hidden], appends keys and values, advances SSM
  // states. `staying` are the last of some of the rows, or all: nobody wants the others any more once the
  // layer has what later rows see of them, and x is [staying, hidden] in the end.
  void run(const Segment& segment, const Layer& layer, int32_t depth, float* x, const Rows& rows,
           const Rows& staying);

  // Takes x, [rows, hidden], and the memory of the gated memory units from all rows to those that stay
  // (keep_last()).
  void leave(const Rows& from, const Rows& to, float* x);

  // y = norm(x), [count, hidden] each.
  void norm(const Norm& norm, int32_t depth, const float* x, float* y, int64_t count);

  // What the published code stores as bfloat16: rounds x, [count], under Rounding::kReference.
  void round(float* x, int64_t count);

  // Hands the gated memory units' memory to `trace` if `layer` wrote it.
  void watch_memory(const Layer& layer, int64_t rows,
                    const std::function<void(std::string_view, const float*, int64_t, int64_t)>& trace) const;

  // Null: nobody watches.
  void set_observer(OpObserver* observer) { observer_ = observer; }

  int64_t scratch_bytes() const { return scratch_.bytes(); }

 private:
  OpScope running(EngineOp op) { return {observer_, op, parallel_}; }
  void carve();
  void build_rope_tables();
  void build_lambdas();
  void build_ssm_rates();
  void build_out_scales();
  void build_prompts();
  const float* array(const ParamRef& param, int32_t depth) const;
  struct Product {
    ParamRef weight;
    ParamRef bias;
    float* y;  // [rows, out]
    int64_t out;
    const Adapter* adapter = nullptr;  // null or absent: W alone
    float scale = 1;
    bool accumulate = false;  // y += scale * (...)
  };
  // Up to three products of the same rows x, [rows, in], rows x_stride apart, and what their adapters change.
  void linear(std::initializer_list<Product> products, int32_t depth, const float* x, int64_t x_stride,
              int64_t in, int64_t rows);
  // The second product of the adapter, of `low`, [rows, rank], is added to what the product has written.
  void add_low_rank(const Product& product, int32_t depth, const float* low, int64_t rows);
  // magnitude / norm of each output; null without DoRA.
  const float* out_scale(const Adapter* adapter, int32_t depth) const;
  // x += residual_scale * (input weight^T + bias): the end of both branches.
  void project_onto_residual(const ParamRef& weight, const ParamRef& bias, const Adapter* adapter,
                             int32_t depth, const float* input, int64_t in, float* x, int64_t rows);
  // Adds to `mixed` what the queries q_ take from the layer's prompt.
  void attend_prompt(const Attention& attention, int32_t depth, float* mixed, int64_t rows);
  // y = the normalised difference of the two maps in mixed_.
  void subtract_maps(const Attention& attention, int32_t depth, float* y, int64_t rows);

  // A layer at one depth of its segment.
  struct Place {
    const Layer& layer;
    int32_t depth;
    KeySource keys;
  };
  void mix(const Attention& attention, const Place& place, float* x, const Rows& rows, const Rows& asking);
  void mix(const Mamba& mamba, const Place& place, float* x, const Rows& rows);
  void mix(const Mamba2& mamba, const Place& place, float* x, const Rows& rows);
  void mix(const GatedDelta& delta, const Place& place, float* x, const Rows& rows);
  void mix(const GatedMemory& gmu, const Place& place, float* x, const Rows& rows);
  // What the call's memory has for the rows, [count, inner].
  const float* memory_for(SlotId slot, const Rows& rows);
  // Rounds those, for the next call, under state_type kBF16.
  void round_recurrent_states();
  // What the layer keeps of each sequence of the rows at this depth, into recurrent_states_.
  void find_recurrent_states(const Place& place, const Rows& rows);
  // Where the recurrence's result goes: to those who will read it as memory, if this is the layer that writes
  // it.
  float* recurrent_output(const Place& place) const;
  // y = convolution and silu of x, [rows, channels] each, whose last inputs each sequence keeps in its
  // state's convolutions, `at` elements behind their begin.
  void convolve(const ParamRef& weight, const ParamRef& bias, int32_t depth, const float* x, float* y,
                int64_t channels, int64_t width, int64_t at, const Rows& rows);
  // gate = memory * silu(gate), [rows, dim] each, under a norm where there is one.
  void gate_memory(const float* memory, float* gate, const ParamRef& norm, double eps, int32_t depth,
                   int64_t dim, int64_t rows);
  // The list that rows of the sequence attend, without what this call adds to it.
  KvState& key_list(const Place& place, SlotId slot, const SequenceRows& sequence) const;
  // Adds to the lists what the layer's rows have for them (k_ and v_, if it writes any).
  void store_keys(const Place& place, SlotId slot, const Rows& rows);
  // Which keys of which list each of the last rows attends.
  void find_keys(const Attention& attention, const Place& place, SlotId slot, const Rows& rows,
                 const Rows& asking);
  void mlp(const Layer& layer, int32_t depth, float* x, int64_t rows);
  // The memory of this call that the layer fills from `source`; null if it does not.
  float* memory_of(const Layer& layer, MemorySource source) const;
  void rotate(const Attention& attention, float* x, int64_t heads, const Rows& rows);

  struct RopeTable {
    Rope rope;
    int64_t head_dim;
    std::vector<float> cos, sin;
  };
  struct PromptKeys {
    std::vector<float> k, v;  // [length, kv heads * head_dim]
    std::vector<const void*> k_blocks, v_blocks;
    std::vector<float> gate;  // [heads * head_dim], one number
  };
  const RopeTable& rope_table(const Attention& attention) const;

  // Widest arrays that any layer of the plan needs.
  struct Extents {
    int64_t q = 0, kv = 0, mixed = 0, heads = 0, head_dim = 0, stripes = 1, inner = 0, bc = 0, mlp = 0,
            memory = 0;
    int64_t rank = 0, prompt = 0;  // of adapters; tokens of a prompt
    int64_t delta_keys = 0;        // of one head
  };
  static Extents extents_of(const ModelPlan& plan);

  const ModelPlan& plan_;
  const Weights& weights_;
  const int64_t max_rows_;
  const int64_t context_;
  Parallel& parallel_;
  const Numerics numerics_;
  const Extents extents_;
  OpObserver* observer_ = nullptr;
  Scratch scratch_;
  std::vector<RopeTable> rope_tables_;
  std::vector<std::vector<float>> ssm_rates_;  // -exp(A_log) by parameter number, empty for other parameters
  std::vector<float> lambdas_;                 // of differential attention, by number of lambda_q1

  std::vector<std::vector<float>> out_scales_;  // by number of a magnitude, empty for other parameters
  std::vector<PromptKeys> prompts_;             // by number of a prompt's tokens, likewise

  float* branch_ = nullptr;  // under Rounding::kReference: a branch before it joins the residual stream
  std::vector<float> ones_;  // [hidden]
  float *normed_ = nullptr, *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *mixed_ = nullptr;
  float *gate_ = nullptr, *up_ = nullptr;
  float *low_ = nullptr, *prompted_ = nullptr;
  // Of recurrent mixers. What comes out of inner_x_ through a convolution is in conv_, so that the result of
  // the recurrence may go to inner_x_; dt_b_c_ holds what has few columns.
  float *inner_x_ = nullptr, *inner_z_ = nullptr, *conv_ = nullptr, *dt_ = nullptr, *dt_b_c_ = nullptr;
  float* delta_workspace_ = nullptr;
  int32_t *key_begin_ = nullptr, *key_end_ = nullptr, *list_of_row_ = nullptr;
  // By sequence of the rows that a mixer runs.
  std::vector<kernels::KeyList> key_lists_;
  std::vector<SsmState*> recurrent_states_;
  std::vector<kernels::ConvSequence> conv_sequences_;
  std::vector<kernels::ScanSequence> scan_sequences_;
  std::vector<kernels::SsdSequence> ssd_sequences_;
  std::vector<kernels::DeltaSequence> delta_sequences_;
  uint8_t *linear_workspace_ = nullptr, *attention_workspace_ = nullptr;
  std::vector<float*> memory_;  // by slot id: the memory of this call, null for other slots
};

}  // namespace fathom
