// The rules by which the study of Decoder-Hybrid-Decoder (arXiv 2507.06607, tables 6 and 7) makes models of
// any depth comparable: their shape, how long they train, how fast, and what the optimizer does to each
// parameter. L is the number of layers, w the width; the base point is L0 = ModelSpec::mup_base_depth.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "plan/model_plan.h"

namespace fathom {

// The study's base point.
struct StudyBase {
  static constexpr double kLearningRate = 4e-4;  // at kBatchTokens and L0 layers
  static constexpr int64_t kBatchTokens = int64_t{1} << 21;
  static constexpr double kTrainTokens = 100e9;  // of Transformer++ with kDepth layers
  static constexpr double kWarmupTokens = 1e9;
  static constexpr int64_t kDepth = 16;
};

// Whether `architecture` has a shape at every depth: w = aspect * L with the aspect ratio at which it has as
// many parameters as Transformer++, L heads of 128, L / 4 heads of keys and values, MLPs of 4 w.
bool has_study_shape(std::string_view architecture);

// Fills in widths and heads from the architecture and num_hidden_layers. Error if the number of layers is no
// multiple of 4 or too large.
Status give_study_shape(ModelSpec& spec);

// Parameters without embeddings as the study counts them, norms and other small ones left out and every kind
// of layer taken to be a quarter, or half, of all: (p a^2 + q a) L^3 for the aspect ratio a = w / L. Error
// for architectures without such a count.
Result<double> study_parameters(const ModelSpec& spec);

// Tokens to train on: as many for each counted parameter as the base point has, rounded down.
Result<int64_t> study_train_tokens(const ModelSpec& spec);

// Tokens of a batch: the base point's, rounded down to whole micro-batches of all devices together.
int64_t study_batch_tokens(int64_t micro_batch_tokens);

// The peak of the learning rate that goes with `base` at `base_batch` tokens and L0 layers: by the square
// root of the batch, and under muP++ of 1 / L.
double study_learning_rate(const ModelSpec& spec, double base, double base_batch, double batch);

// What multiplies the learning rate of a parameter: L0 / L for matrices of layers under muP and muP++,
// else 1.
double rate_multiplier(const ModelSpec& spec, const Param& param);

// Whether weight decay applies to a parameter: everywhere, but under muP++ to matrices of layers alone.
bool decays_by_parametrisation(const ModelSpec& spec, const Param& param);

}  // namespace fathom
