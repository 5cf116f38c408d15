// What changes about routing while a model trains: warm-ups, which count forward calls (micro-batches),
// capacities that each call draws, and the bias of loss-free balancing (Mixture-of-Recursions, sections 3.2
// and 4).
#pragma once

#include <cstdint>
#include <vector>

#include "plan/model_plan.h"
#include "train/executor.h"
#include "train/parameters.h"

namespace fathom::train {

// Sets the warm-ups of forward call number `call`, from 1. Capacities go from 1 to the plan's in
// capacity_warmup_steps calls; calls 1 .. balance_warmup_steps - 1 take the deepest way.
void set_warmups(const ModelPlan& plan, int64_t call, ForwardOptions& options);

// Draws where forward call number `call`, from 1, has its capacities: between `capacity_low` and `capacity`,
// all recursions the same part of the way. A function of (seed, call), so that a resumed run draws the same.
void draw_capacities(const ModelPlan& plan, uint64_t seed, int64_t call, ForwardOptions& options);

// Moves the bias of token choice without a gradient: after a step, every depth that had less than its share
// of the tokens gains `bias_update`, and every one that had more loses it. Between steps it remembers nothing
// but the bias, which is a parameter.
class LoadBalancer {
 public:
  // Both outlive the object.
  LoadBalancer(const ModelPlan& plan, Parameters& parameters) : plan_(plan), parameters_(parameters) {}

  // Before each forward call: a bias means nothing yet while the deepest way is forced, and is zero then.
  void begin_call(const ForwardOptions& options);
  void note(const ForwardResult& result);
  // After an optimizer step.
  void update();

 private:
  const ModelPlan& plan_;
  Parameters& parameters_;
  std::vector<float> load_;  // sums over the calls of a step
  int64_t calls_ = 0;
};

}  // namespace fathom::train
