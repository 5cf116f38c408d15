// The projections of layers, with what relaxation changes of them.
#pragma once

#include <initializer_list>
#include <optional>
#include <vector>

#include "plan/model_plan.h"
#include "train/ops.h"
#include "train/precision.h"
#include "train/recompute.h"

namespace fathom::train {

// In training, adapters drop parts of their input, and attention some of its keys, keyed by the run's seed
// and the number of the forward call.
struct DropoutCall {
  uint64_t seed = 0, call = 0;
};

// A projection as a layer names it.
struct Relaxable {
  const ParamRef& weight;
  const ParamRef& bias;
  const Adapter& adapter;
};
constexpr ParamRef kNoBias;

class Projections {
 public:
  // The plan and its parameters outlive this object. Without `dropout` nothing is dropped.
  Projections(const ModelPlan& plan, const NotedParameters& parameters, Precision precision,
              const std::optional<DropoutCall>& dropout)
      : plan_(plan), parameters_(parameters), precision_(precision), dropout_(dropout) {}

  // Projections of the same rows x at one depth, in their order.
  std::vector<Tensor> of(const Tensor& x, const std::vector<Relaxable>& projections, int32_t depth) const;

  // `mixed`, the output of attention for the rotated queries q, and what these take from the layer's prompt.
  Tensor with_prompt(const Attention& attention, int32_t depth, const Tensor& q, const Tensor& mixed) const;

 private:
  Tensor adapted(const Relaxable& projection, const Tensor& x, const Tensor& plain, int32_t depth) const;

  const ModelPlan& plan_;
  const NotedParameters& parameters_;
  const Precision precision_;
  const std::optional<DropoutCall> dropout_;
};

}  // namespace fathom::train
