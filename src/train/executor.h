// Walks a plan over ragged rows with gradients: the training form of engine/executor.h. All
// arithmetic is our kernels' (train/ops.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plan/model_plan.h"
#include "train/batch.h"
#include "train/ops.h"
#include "train/parameters.h"
#include "train/projections.h"

namespace fathom::train {

// kTopK: the published rule, over whole sequences. kThreshold: causal (Mixture-of-Recursions 3.5). kReplay:
// decisions made elsewhere, to compare values under equal decisions.
enum class Routing : uint8_t { kTopK, kThreshold, kReplay };

struct ForwardOptions {
  bool bf16 = false;  // matrix products in bfloat16
  Routing routing = Routing::kTopK;
  std::vector<uint8_t> replay_depths;  // kReplay: passes that each row of the batch makes
  double loss_scale = 1;               // multiplies the sum of negative log-likelihoods
  double label_smoothing = 0;
  std::optional<AdapterDropout> dropout;  // in training; nothing: nothing is dropped
  double capacity_warmup = 1;  // part of the capacity warm-up done, 0..1 (1: the plan's capacities)
  bool want_logits = false;
  // Keeps the inputs of each layer instead of all that its backward needs, and runs it again there. Gradients
  // are the same to the bit: a routed pass runs again on the rows that it was given.
  bool gradient_checkpointing = false;
  // Sees "embedding", "layer.{i}", "pass.{r}", "memory", "final_norm" as the engine's trace does.
  std::function<void(const std::string&, const Tensor&)> trace;
};

// What the router did before one pass.
struct RoutedPass {
  std::vector<int32_t> candidates;  // rows of the batch
  std::vector<int32_t> kept;        // rows of the batch
  Tensor logits;                    // [candidates], detached
  Tensor weights;                   // [candidates], detached
  double bce = 0;                   // mean over candidates
  double accuracy = 0;              // share of candidates whose score at one half says what was decided
};

struct ForwardResult {
  Tensor loss;  // what backward starts from: loss_lm + coefficient * sampling_loss + z_coefficient * z_loss
  double loss_lm = 0;
  double sampling_loss = 0;  // sum over passes, without coefficient
  double z_loss = 0;
  std::vector<RoutedPass> passes;
  Tensor logits;  // [rows, vocab] if wanted
};

class Executor {
 public:
  Executor(const ModelPlan& plan, const Parameters& parameters);
  ~Executor();
  ForwardResult forward(const Batch& batch, const ForwardOptions& options);

 private:
  struct Pass;
  const ModelPlan& plan_;
  const Parameters& parameters_;
  std::map<std::string, std::shared_ptr<const RopeTables>> rope_tables_;
};

}  // namespace fathom::train
