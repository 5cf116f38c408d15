// Gradient checkpointing changes memory and time, and no bit of a result.
#include "train/recompute.h"

#include <ATen/core/grad_mode.h>
#include <malloc.h>

#include "train/testing.h"
#include "train/torch_parallel.h"

namespace fathom::train {
namespace {

using testing::random_batch;
using testing::SmallModel;
using testing::values_of;

struct Outcome {
  float loss = 0;
  double sampling_loss = 0;
  std::vector<std::vector<int32_t>> kept;
  std::vector<std::vector<float>> logits;     // of the router, then of the model
  std::vector<std::vector<float>> gradients;  // after two micro-batches
};

Outcome run(SmallModel& model, ForwardOptions options, bool checkpointing) {
  options.gradient_checkpointing = checkpointing;
  options.want_logits = true;
  model.parameters->clear_gradients();
  Executor executor(model.plan, *model.parameters);
  Outcome outcome;
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{19, 1, 12}, {7, 40}}) {
    const Batch batch = random_batch(model.plan, lengths);
    const ForwardResult result = executor.forward(batch, options);
    result.loss.backward();
    outcome.loss += result.loss.item<float>();
    outcome.sampling_loss += result.sampling_loss;
    for (const RoutedPass& pass : result.passes) {
      outcome.kept.push_back(pass.kept);
      if (!pass.logits.defined()) continue;  // token choice decides once
      const std::span<const float> logits = values_of(pass.logits);
      outcome.logits.emplace_back(logits.begin(), logits.end());
    }
    const std::span<const float> logits = values_of(result.logits);
    outcome.logits.emplace_back(logits.begin(), logits.end());
  }
  for (size_t p = 0; p < model.plan.params.size(); ++p) {
    const std::span<const float> gradient =
        std::as_const(*model.parameters).gradient(static_cast<int32_t>(p));
    outcome.gradients.emplace_back(gradient.begin(), gradient.end());
  }
  return outcome;
}

void expect_same(SmallModel& model, const ForwardOptions& options) {
  const Outcome plain = run(model, options, false), recomputed = run(model, options, true);
  EXPECT_EQ(recomputed.loss, plain.loss);
  EXPECT_EQ(recomputed.sampling_loss, plain.sampling_loss);
  EXPECT_EQ(recomputed.kept, plain.kept);
  EXPECT_EQ(recomputed.logits, plain.logits);
  EXPECT_FALSE(plain.gradients.front().empty());
  for (size_t p = 0; p < plain.gradients.size(); ++p) {
    EXPECT_EQ(recomputed.gradients[p], plain.gradients[p]) << model.plan.params[p].name;
  }
}

TEST(Recompute, EveryModelKeepsItsBits) {
  set_threads(2);
  testing::for_each_small_model([](SmallModel& model) { expect_same(model, {}); });
}

TEST(Recompute, InBFloat16Too) {
  testing::for_each_small_model([](SmallModel& model) {
    ForwardOptions options;
    options.precision = Precision::kBF16;
    options.loss_scale = 0.25;
    expect_same(model, options);
  });
}

TEST(Recompute, OfARoutedModelUnderEveryRule) {
  SmallModel model = testing::small_model("routed", testing::routed_spec());
  ForwardOptions options;
  options.capacity_warmup = 0.3;
  expect_same(model, options);
  options.routing = Routing::kThreshold;
  expect_same(model, options);
}

// Bytes that malloc has given out.
size_t bytes_in_use() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(Recompute, AGraphHoldsLessThanHalf) {
  for (const char* name : {"llama", "mor-middle_cycle-nr3", "sambay"}) {
    SCOPED_TRACE(name);
    SmallModel model = testing::small_model(name, testing::spec_named(name));
    Executor executor(model.plan, *model.parameters);
    const Batch batch = random_batch(model.plan, {500, 500, 500});
    const auto held = [&](bool checkpointing) {
      ForwardOptions options;
      options.gradient_checkpointing = checkpointing;
      executor.forward(batch, options);  // tables that are made once
      const size_t before = bytes_in_use();
      const ForwardResult result = executor.forward(batch, options);
      return bytes_in_use() - before;
    };
    const size_t plain = held(false), recomputed = held(true);
    EXPECT_LT(2 * recomputed, plain);
    RecordProperty(std::string(name) + "_bytes", std::to_string(plain) + " -> " + std::to_string(recomputed));
  }
}

TEST(Recompute, NothingIsRecordedWithoutGradients) {
  SmallModel model = testing::small_model("llama", testing::spec_named("llama"));
  Executor executor(model.plan, *model.parameters);
  const at::NoGradGuard no_graph;
  ForwardOptions options;
  options.gradient_checkpointing = true;
  EXPECT_FALSE(executor.forward(random_batch(model.plan, {5}), options).loss.requires_grad());
}

}  // namespace
}  // namespace fathom::train
