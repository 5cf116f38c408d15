// The coordinate check of parametrisations (Tensor Programs V, arXiv 2203.03466, appendix D.1) over the
// depths of Decoder-Hybrid-Decoder, whose width grows with them: how far a few updates move what the layers
// say must not depend on the size of the model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "plan/scaling_study.h"
#include "train/optimizer.h"
#include "train/testing.h"

namespace fathom::train {
namespace {

using testing::values_of;

constexpr int64_t kDepths[] = {4, 8, 16};
constexpr int kUpdates = 4;

// Widths in proportion to the depth, as in the study.
ModelSpec spec_of(const std::string& architecture, int64_t layers, Parametrisation parametrisation) {
  ModelSpec spec;
  spec.architecture = architecture;
  spec.parametrisation = parametrisation;
  spec.vocab_size = 128;
  spec.num_hidden_layers = layers;
  spec.hidden_size = 16 * layers;
  spec.intermediate_size = 4 * spec.hidden_size;
  spec.num_attention_heads = layers;
  spec.num_key_value_heads = layers / 4;
  spec.head_dim = 16;
  spec.sliding_window = 8;
  return spec;
}

struct Moves {
  double stream = 0, logits = 0;  // root mean square of the changes
};

double distance(const std::vector<float>& from, const std::vector<float>& to) {
  double squares = 0;
  for (size_t i = 0; i < from.size(); ++i) squares += std::pow(double{to[i]} - from[i], 2);
  return std::sqrt(squares / static_cast<double>(from.size()));
}

// What kUpdates steps at the rate of the parametrisation change of the last layer's stream and of the logits.
Moves moves_of(const ModelSpec& spec) {
  const Result<ModelPlan> plan = build_plan(spec);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  Parameters parameters(*plan);
  init_parameters(*plan, 8, parameters);
  const OptimizerConfig config{.decay = DecayRule::kParametrisation};
  Optimizer optimizer(*plan, config, parameters);
  const Batch batch = testing::random_batch(*plan, {32, 32});
  const double rate = study_learning_rate(spec, 1e-3, 1, 1);
  const auto labels = std::ranges::count_if(batch.labels, [](int32_t label) { return label >= 0; });
  std::vector<float> first_stream, first_logits, stream, logits;
  for (int update = 0; update <= kUpdates; ++update) {
    ForwardOptions options;
    options.want_logits = true;
    options.loss_scale = 1.0 / static_cast<double>(labels);
    options.trace = [&](const std::string& name, const Tensor& tensor) {
      if (name != "layer." + std::to_string(spec.num_hidden_layers - 1)) return;
      const Tensor values = tensor.detach().contiguous();
      stream.assign(values_of(values).begin(), values_of(values).end());
    };
    const ForwardResult result = Executor(*plan, parameters).forward(batch, options);
    logits.assign(values_of(result.logits).begin(), values_of(result.logits).end());
    if (update == 0) first_stream = stream, first_logits = logits;
    if (update == kUpdates) break;
    result.loss.backward();
    optimizer.update(update + 1, rate, optimizer.gradient_norms());
    parameters.clear_gradients();
  }
  return {distance(first_stream, stream), distance(first_logits, logits)};
}

// The largest move over the smallest, of all depths.
Moves growth(const std::string& architecture, Parametrisation parametrisation) {
  std::vector<Moves> moves;
  for (int64_t layers : kDepths) moves.push_back(moves_of(spec_of(architecture, layers, parametrisation)));
  const auto ratio = [&](double Moves::*of) {
    const auto [least, most] = std::ranges::minmax(moves, {}, of);
    return most.*of / (least.*of);
  };
  return {ratio(&Moves::stream), ratio(&Moves::logits)};
}

TEST(CoordinateCheck, MuPPlusPlusMovesModelsOfAllDepthsAlike) {
  for (const char* architecture : {"transformer", "sambay"}) {
    SCOPED_TRACE(architecture);
    const Moves moves = growth(architecture, Parametrisation::kMuPPlusPlus);
    EXPECT_LT(moves.stream, 2.5);
    EXPECT_LT(moves.logits, 2);
  }
}

// So the check above sees what it is there for: muP lacks what depth calls for, the standard one width as
// well.
TEST(CoordinateCheck, TheOthersMoveDeepModelsFurther) {
  const Moves standard = growth("sambay", Parametrisation::kStandard);
  const Moves mup = growth("sambay", Parametrisation::kMuP);
  EXPECT_GT(mup.stream, 2.5);
  EXPECT_GT(standard.stream, 2 * mup.stream);
  EXPECT_GT(standard.logits, 3);
}

}  // namespace
}  // namespace fathom::train
