// Relaxed models as a whole: what they start from, and what dropout does. Gradients and parity with the
// engine are tested with all other models.
#include "train/projections.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "base/worse_of.h"
#include "train/executor.h"
#include "train/testing.h"
#include "train/torch_parallel.h"

namespace fathom::train {
namespace {

using testing::random_batch;
using testing::SmallModel;
using testing::values_of;

const char* const kRelaxed[] = {"recursive-lora",      "recursive-dora", "recursive-adaption_prompt",
                                "recursive-encoding",  "mor-lora",       "mor-dora",
                                "mor-adaption_prompt", "mor-encoding"};

std::vector<float> logits_of(const ModelPlan& plan, const Parameters& parameters, const Batch& batch) {
  const at::NoGradGuard no_graph;
  Executor executor(plan, parameters);
  ForwardOptions options;
  options.want_logits = true;
  const ForwardResult result = executor.forward(batch, options);
  return {values_of(result.logits).begin(), values_of(result.logits).end()};
}

// B, gates and what encodings and magnitudes change are nothing at the start.
TEST(Relaxed, AFreshModelComputesWhatItDoesWithoutRelaxation) {
  set_threads(1);
  for (const char* name : kRelaxed) {
    SCOPED_TRACE(name);
    const ModelSpec spec = testing::spec_named(name);
    ModelSpec plain = spec;
    plain.relaxation.reset();
    const SmallModel shared = testing::small_model("plain", plain);
    const ModelPlan plan = *build_plan(spec);
    Parameters parameters(plan);
    init_parameters(plan, 3, parameters);
    for (size_t p = 0; p < plan.params.size(); ++p) {
      const auto same = std::ranges::find(shared.plan.params, plan.params[p].name, &Param::name);
      if (same == shared.plan.params.end()) continue;
      const auto index = static_cast<int32_t>(same - shared.plan.params.begin());
      std::ranges::copy(std::as_const(*shared.parameters).values(index),
                        parameters.values(static_cast<int32_t>(p)).begin());
    }
    start_magnitudes(plan, parameters);
    const Batch batch = random_batch(plan, {19, 7});
    const std::vector<float> expected = logits_of(shared.plan, *shared.parameters, batch),
                             found = logits_of(plan, parameters, batch);
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i)
      worst = worse_of(worst, std::fabs(double{found[i]} - expected[i]));
    EXPECT_LE(worst, 1e-5);
  }
}

struct Outcome {
  float loss = 0;
  std::vector<std::vector<float>> gradients;
  bool operator==(const Outcome&) const = default;
};

Outcome run(SmallModel& model, const std::optional<DropoutCall>& dropout, bool checkpointing = false) {
  model.parameters->clear_gradients();
  Executor executor(model.plan, *model.parameters);
  ForwardOptions options;
  options.dropout = dropout;
  options.gradient_checkpointing = checkpointing;
  const ForwardResult result = executor.forward(random_batch(model.plan, {19, 7}), options);
  result.loss.backward();
  Outcome outcome{result.loss.item<float>(), {}};
  for (size_t p = 0; p < model.plan.params.size(); ++p) {
    const auto gradient = std::as_const(*model.parameters).gradient(static_cast<int32_t>(p));
    outcome.gradients.emplace_back(gradient.begin(), gradient.end());
  }
  return outcome;
}

TEST(Relaxed, DropoutIsAFunctionOfSeedAndCall) {
  for (const char* name : {"recursive-lora", "mor-dora"}) {
    SCOPED_TRACE(name);
    SmallModel model = testing::small_model(name, testing::spec_named(name));
    const DropoutCall key{.seed = 4, .call = 9};
    set_threads(1);
    const Outcome first = run(model, key);
    EXPECT_TRUE(run(model, key) == first);
    EXPECT_TRUE(run(model, key, /*checkpointing=*/true) == first);
    set_threads(3);
    EXPECT_TRUE(run(model, key) == first);
    EXPECT_NE(run(model, DropoutCall{.seed = 4, .call = 10}).loss, first.loss);
    EXPECT_NE(run(model, DropoutCall{.seed = 5, .call = 9}).loss, first.loss);
    EXPECT_NE(run(model, std::nullopt).loss, first.loss);
  }
}

}  // namespace
}  // namespace fathom::train
