// Adds parameters and slots to a plan, block by block. One builder makes one plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/model_plan.h"

namespace fathom {

// How matrices start. Normal(0, deviation) or, for muP, Uniform(+-1 / sqrt(fan_in)); projections onto the
// residual stream are divided by `residual_divisor` (Decoder-Hybrid-Decoder, table 6 and section 2.6).
struct InitRule {
  bool uniform = false;
  double deviation = 0.02;
  double residual_divisor = 1;
  Init matrix(int64_t fan_in) const;
  Init residual(int64_t fan_in) const;
  // The rule of the mean of `count` independent matrices: Normal(0, deviation / sqrt(count)).
  InitRule averaged(int64_t count) const;
};

// Where a layer stands: its number, how often its segment runs, and which of its parameters each depth has
// for itself.
struct LayerPlace {
  int32_t index = 0;
  int32_t repeat = 1;
  bool own_norms = false;
  bool own_attention = false;
  bool own_mlp = false;
  int64_t mean_of = 1;   // fresh matrices that each of its matrices starts as the mean of
  bool relaxed = false;  // it has what the spec's relaxation gives to each depth of a shared layer
};

class PlanBuilder {
 public:
  PlanBuilder(const ModelSpec& spec, const InitRule& init);

  // One parameter for the whole model, e.g. "embedding".
  ParamRef add(std::string name, std::vector<int64_t> shape, ParamRole role, const Init& init);
  // "layers.3.attention.q", or with per_depth one for each depth, "layers.3.depth1.attention.q".
  ParamRef add(const LayerPlace& place, bool per_depth, const std::string& name,
               const std::vector<int64_t>& shape, ParamRole role, const Init& init);
  // `name` once, or "<prefix>.depth0.<name>" for each of `repeat` depths.
  ParamRef add_per_depth(const std::string& prefix, int32_t repeat, bool per_depth, const std::string& name,
                         const std::vector<int64_t>& shape, ParamRole role, const Init& init);

  Norm norm(const LayerPlace& place, const std::string& name, NormKind kind);
  Norm final_norm(NormKind kind);
  // Heads, sizes and scale come from the spec.
  Attention attention(const LayerPlace& place, bool cross, bool biases);
  void make_differential(const LayerPlace& place, Attention& attention);
  // What the spec's relaxation gives to a layer.
  void relax(const LayerPlace& place, Layer& layer);
  Mamba mamba(const LayerPlace& place);
  Mamba2 mamba2(const LayerPlace& place);
  GatedDelta gated_delta(const LayerPlace& place);
  GatedMemory gated_memory(const LayerPlace& place, int64_t inner, bool normalised);
  Mlp mlp(const LayerPlace& place);
  // Puts the segment's layers under the spec's router.
  void route(Segment& segment);
  // Embedding, and the head that is the embedding itself when tied.
  void embedding_and_head(const Init& embedding, const Init& head);

  // window == 0: a full cache.
  SlotId kv_slot(const LayerPlace& place, int64_t window, int32_t copies);
  // `state` is state_of() the layer's mixer.
  SlotId ssm_slot(const LayerPlace& place, Slot state);
  SlotId memory_slot(const LayerPlace& place, int64_t inner);

  ModelPlan& plan() { return plan_; }
  const ModelSpec& spec() const { return plan_.spec; }

 private:
  SlotId add_slot(Slot slot);
  Router router(int32_t repeat);
  Adapter adapter(const LayerPlace& place, const std::string& name, const ParamRef& matrix, int64_t rank);

  ModelPlan plan_;
  InitRule init_;
};

}  // namespace fathom
