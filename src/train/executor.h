// Walks a plan over ragged rows with gradients: the training form of engine/executor.h. All
// arithmetic is our kernels' (train/ops.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plan/model_plan.h"
#include "train/batch.h"
#include "train/ops.h"
#include "train/parameters.h"
#include "train/precision.h"
#include "train/projections.h"

namespace fathom::train {

// kTopK: the published rule, over whole sequences. kThreshold: causal (Mixture-of-Recursions 3.5). kReplay:
// decisions made elsewhere, to compare values under equal decisions.
enum class Routing : uint8_t { kTopK, kThreshold, kReplay };

// Shares of the probabilities that attention drops: in layers with keys of their own, and in those that read
// another layer's, the cross-decoder's.
struct AttentionDropoutShares {
  double own = 0, cross = 0;
};

struct ForwardOptions {
  Precision precision = Precision::kF32;
  Routing routing = Routing::kTopK;
  std::vector<uint8_t> replay_depths;  // kReplay: passes that each row of the batch makes
  double loss_scale = 1;               // multiplies the sum of negative log-likelihoods
  double label_smoothing = 0;
  // Divides the router's losses, see RouterSpec::loss_per_step: the micro-batches whose losses a step adds
  // up. The published code takes the labels that count in a step over the places of one micro-batch, which is
  // the same where every place has a label.
  double accumulation = 1;
  std::optional<DropoutCall> dropout;        // in training; nothing: nothing is dropped
  AttentionDropoutShares attention_dropout;  // with `dropout`
  double capacity_warmup = 1;  // part of the capacity warm-up done, 0..1 (1: the plan's capacities)
  double capacity_draw = 0;    // how far capacities are on the way to RouterSpec::capacity_low, [0, 1)
  bool force_deepest = false;  // token choice: every row makes all passes (balance warm-up)
  // Scores of a random router: given, in [0, 1), [depth, rows]; else drawn by (draw_seed, draw_call), the
  // number of the forward call from 1; or, with 0, by depth and position as the engine draws them.
  std::vector<float> router_draws;
  uint64_t draw_seed = 0, draw_call = 0;
  bool want_logits = false;
  // Keeps the inputs of each layer instead of all that its backward needs, and runs it again there. Gradients
  // are the same to the bit: a routed pass runs again on the rows that it was given.
  bool gradient_checkpointing = false;
  // Sees "embedding", "layer.{i}", "pass.{r}", "memory", "final_norm" as the engine's trace does.
  std::function<void(const std::string&, const Tensor&)> trace;
};

// One pass through a routed segment. Tensors and figures are those of expert choice.
struct RoutedPass {
  std::vector<int32_t> candidates;  // rows of the batch
  std::vector<int32_t> kept;        // rows of the batch
  Tensor logits;                    // [candidates], detached
  Tensor weights;                   // [candidates], detached
  Tensor aux_logits;                // [candidates] of the second router, if there is one
  double bce = 0;                   // mean over candidates
  double z_loss = 0;                // the pass's part, without coefficient
  double accuracy = 0;              // share of candidates whose score at one half says what was decided
  double overlap = 1;               // share of the kept that the second router's own top k has too
};

// What token choice decided.
struct TokenChoice {
  Tensor logits, weights;       // [rows, depths], detached
  std::vector<int32_t> chosen;  // [rows], 0 for one pass
  std::vector<float> load;      // [depths] share of the rows
  double balancing_loss = 0;    // without coefficient
  double violation = 0;         // MaxVio: how far the fullest depth is above its share, relative to it
  double entropy = 0;           // of the mean scores as a distribution over depths, in nats
};

struct ForwardResult {
  Tensor loss;  // what backward starts from: loss_total and the loss of second routers
  double loss_lm = 0;
  double loss_total = 0;     // loss_lm and the losses of routers, with their coefficients
  double sampling_loss = 0;  // sum over passes, without coefficient
  double z_loss = 0;         // without coefficient
  std::vector<RoutedPass> passes;
  std::optional<TokenChoice> choice;
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
