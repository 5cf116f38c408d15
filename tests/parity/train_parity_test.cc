// Under the same routing rule the training executor gives the engine's logits, depths and selections.
#include "base/worse_of.h"
#include "engine/executor.h"
#include "tests/parity/tiny_models.h"
#include "train/executor.h"
#include "weights/checkpoint.h"

namespace fathom {
namespace {

using testing::TinyModel;

// Gated DeltaNet hands rounding on: the published cases allow its logits three times what they allow others.
double limit_of(const ModelPlan& plan) {
  const bool delta = std::ranges::any_of(plan.segments.front().layers, [](const Layer& layer) {
    return layer.kind() == BlockKind::kGatedDelta;
  });
  return delta ? 6e-5 : 2e-5;
}

TEST(TrainParity, TrainingAndEngineAgree) {
  ThreadPool pool(2);
  testing::for_each_tiny_model([&](const TinyModel& model) {
    train::Parameters parameters(model.plan);
    Weights weights(model.plan.params.size());
    for (size_t p = 0; p < model.plan.params.size(); ++p) {
      const auto index = static_cast<int32_t>(p);
      std::copy(model.values[p].begin(), model.values[p].end(), parameters.values(index).begin());
      weights.borrow(index, DType::kF32, parameters.values(index).data(), nullptr);
    }
    const int64_t vocab = model.plan.dims.vocab_size;
    const std::vector<int32_t> tokens = testing::random_tokens(61, vocab, 4);
    Executor engine(model.plan, weights, 61, 61, pool);
    train::Executor trainer(model.plan, parameters);
    for (bool top_k : {true, false}) {
      SequenceState state = engine.make_state(DType::kF32);
      ForwardOptions engine_options;
      engine_options.routing = top_k ? RoutingMode::kTopK : RoutingMode::kThreshold;
      engine_options.logits = Logits::kAll;
      const ForwardResult expected = engine.forward(state, tokens, engine_options);

      // The sequence twice in one batch, so that rows of other sequences lie around it.
      train::Batch batch;
      const std::vector<int32_t> labels(tokens.size(), 0);
      batch.add(testing::random_tokens(17, vocab, 5), std::vector<int32_t>(17, 0));
      batch.add(tokens, labels);
      train::ForwardOptions options;
      options.routing = top_k ? train::Routing::kTopK : train::Routing::kThreshold;
      options.want_logits = true;
      const train::ForwardResult result = trainer.forward(batch, options);
      const float* logits = result.logits.const_data_ptr<float>() + 17 * vocab;
      double worst = 0, largest = 0;
      for (int64_t i = 0; i < 61 * vocab; ++i) {
        worst = worse_of(worst, std::fabs(double{logits[i]} - expected.logits[i]));
        largest = std::max(largest, std::fabs(double{expected.logits[i]}));
      }
      EXPECT_LE(worst, limit_of(model.plan) * std::max(1.0, largest)) << (top_k ? "top-k" : "threshold");

      std::vector<uint8_t> depths(result.passes.empty() ? 0 : tokens.size(), 0);
      for (size_t r = 0; r < result.passes.size(); ++r) {
        for (int32_t row : result.passes[r].kept) {
          if (row >= 17) depths[static_cast<size_t>(row - 17)] = static_cast<uint8_t>(r + 1);
        }
      }
      EXPECT_TRUE(std::ranges::equal(depths, expected.depths));
    }
  });
}

TEST(TrainParity, GradientsHaveTheSameBitsForEveryRun) {
  testing::for_each_tiny_model([&](const TinyModel& model) {
    std::vector<std::vector<float>> first;
    for (int run = 0; run < 2; ++run) {
      train::Parameters parameters(model.plan);
      for (size_t p = 0; p < model.plan.params.size(); ++p) {
        std::copy(model.values[p].begin(), model.values[p].end(),
                  parameters.values(static_cast<int32_t>(p)).begin());
      }
      train::Batch batch;
      const std::vector<int32_t> tokens = testing::random_tokens(33, model.plan.dims.vocab_size, 6);
      batch.add(tokens, tokens);
      train::Executor trainer(model.plan, parameters);
      trainer.forward(batch, {}).loss.backward();
      size_t reached = 0;
      for (size_t p = 0; p < model.plan.params.size(); ++p) {
        const std::span<const float> gradient = parameters.gradient(static_cast<int32_t>(p));
        if (run == 0) {
          first.emplace_back(gradient.begin(), gradient.end());
        } else {
          EXPECT_TRUE(std::ranges::equal(gradient, first[p])) << model.plan.params[p].name;
        }
        reached += gradient.empty() ? 0 : 1;
      }
      EXPECT_GT(reached, model.plan.params.size() / 2);
    }
  });
}

}  // namespace
}  // namespace fathom
