// What later recursions read of the first, what divides a router's losses, and what is said of its choices.
#include "train/router_pass.h"

#include <cmath>
#include <limits>

#include "train/optimizer.h"
#include "train/testing.h"

namespace fathom::train {
namespace {

using testing::random_batch;
using testing::SmallModel;
using testing::values_of;

// A first recursion that keeps half of the rows writes the keys of all of them, the same as one that keeps
// all: what it chose from has not been changed by any choice yet.
TEST(RouterPass, TheFirstPassWritesTheKeysOfAllRows) {
  for (const KvMode kv : {KvMode::kShared, KvMode::kHybrid}) {
    std::map<std::string, std::vector<float>> seen[2];
    std::vector<size_t> kept;
    for (const bool selecting : {false, true}) {
      ModelSpec spec = testing::routed_spec();
      spec.kv = kv;
      spec.router->capacity = {selecting ? 0.5 : 1.0, 0.25, 0.125};
      SmallModel model = testing::small_model("first pass", spec);
      const Batch batch = random_batch(model.plan, {24, 8});
      ForwardOptions options;
      options.trace = [&](const std::string& name, const Tensor& tensor) {
        // The last layer's own keys come behind what was chosen.
        const std::string last = "keys." + std::to_string(model.plan.slots.size() - 1);
        if (!name.starts_with("keys.") || name == last) return;
        const std::span<const float> values = values_of(tensor);
        seen[selecting ? 1 : 0][name].assign(values.begin(), values.end());
      };
      Executor executor(model.plan, *model.parameters);
      const ForwardResult result = executor.forward(batch, options);
      kept.push_back(result.passes.front().kept.size());
    }
    EXPECT_EQ(kept, (std::vector<size_t>{32, 16}));
    EXPECT_GE(seen[0].size(), 2U);
    EXPECT_EQ(seen[0], seen[1]);
  }
}

// The published divisor is a fraction where labels are masked.
TEST(RouterPass, LossesOfRoutersAreDividedByAnyNumber) {
  ModelSpec token = testing::spec_named("mor-token");
  token.router->z_coefficient = 0.05;
  for (const ModelSpec& spec : {testing::routed_spec(), token}) {
    SmallModel model = testing::small_model("divided", spec);
    const Batch batch = random_batch(model.plan, {19, 12});
    Executor executor(model.plan, *model.parameters);
    ForwardOptions options;
    options.loss_scale = 1.0 / 32;
    const ForwardResult whole = executor.forward(batch, options);
    options.accumulation = 0.75;
    const ForwardResult masked = executor.forward(batch, options);
    EXPECT_EQ(masked.loss_lm, whole.loss_lm);
    EXPECT_EQ(masked.sampling_loss, whole.sampling_loss);
    EXPECT_GT(whole.z_loss, 0);
    EXPECT_NEAR(masked.z_loss, whole.z_loss / 0.75, 1e-5 * whole.z_loss);
    if (!whole.choice) continue;
    EXPECT_NEAR(masked.choice->balancing_loss, whole.choice->balancing_loss / 0.75, 1e-5);
  }
}

// The published code takes what a random router drew for its logits: a constant beside the loss.
TEST(RouterPass, TheZLossOfARandomRouterIsOfItsDraws) {
  ModelSpec spec = testing::routed_spec();
  spec.router->random = true;
  spec.router->loss = RouterLoss::kNone;
  spec.router->z_coefficient = 0.25;
  spec.router->capacity = {1.0, 1.0, 1.0};
  SmallModel model = testing::small_model("random z-loss", spec);
  const Batch batch = random_batch(model.plan, {4});
  ForwardOptions options;
  double squares = 0;
  for (int i = 0; i < 12; ++i) {
    options.router_draws.push_back(static_cast<float>(i + 1) / 16);
    squares += (i + 1) * (i + 1) / 256.0;
  }
  Executor executor(model.plan, *model.parameters);
  const ForwardResult result = executor.forward(batch, options);
  EXPECT_NEAR(result.z_loss, squares / 4, 1e-5);
  EXPECT_NEAR(result.loss_total - result.loss_lm, 0.25 * squares / 4, 1e-5);
}

// Loads, MaxVio and entropy of scores that were chosen for it: a row each, a column for each depth.
TEST(RouterPass, TokenChoiceSaysHowItsLoadsLie) {
  struct Case {
    std::vector<std::vector<float>> scores;
    std::vector<float> load;
    double violation = 0, entropy = 0;
  };
  const Case cases[] = {
      // The scores' mean is a half, a quarter, a quarter, and so are the loads.
      {{{0.8F, 0.1F, 0.1F}, {0.7F, 0.2F, 0.1F}, {0.2F, 0.6F, 0.2F}, {0.3F, 0.1F, 0.6F}},
       {0.5F, 0.25F, 0.25F},
       0.5,
       1.5 * std::log(2.0)},
      // Equal loads.
      {{{0.5F, 0.25F, 0.25F}, {0.25F, 0.5F, 0.25F}, {0.25F, 0.25F, 0.5F}},
       {1.0F / 3, 1.0F / 3, 1.0F / 3},
       0,
       std::log(3.0)},
      // All at one depth, whose score is all there is; scores need not add up to one.
      {{{0.0F, 0.0F, 0.5F}, {0.0F, 0.0F, 0.125F}}, {0, 0, 1}, 2, 0},
      // What is nearly equal in scores may be all at one depth.
      {{{0.5F, 0.25F, 0.25F}, {0.5F, 0.25F, 0.25F}}, {1, 0, 0}, 2, 1.5 * std::log(2.0)},
  };
  for (const double alpha : {1.0, 0.25}) {
    ModelSpec spec = testing::spec_named("mor-token");
    spec.router->random = true;
    spec.router->loss = RouterLoss::kNone;
    spec.router->z_coefficient = 0;
    spec.router->alpha = alpha;
    SmallModel model = testing::small_model("given scores", spec);
    Executor executor(model.plan, *model.parameters);
    for (const Case& c : cases) {
      ForwardOptions options;
      for (size_t depth = 0; depth < 3; ++depth)
        for (const std::vector<float>& row : c.scores) options.router_draws.push_back(row[depth]);
      const ForwardResult result =
          executor.forward(random_batch(model.plan, {static_cast<int64_t>(c.scores.size())}), options);
      ASSERT_TRUE(result.choice);
      EXPECT_EQ(result.choice->load, c.load);
      EXPECT_NEAR(result.choice->violation, c.violation, 1e-6);
      EXPECT_NEAR(result.choice->entropy, c.entropy, 1e-6);
    }
  }
}

// Adapters of keys that a depth reads from the first one are read by nobody: whatever they hold, they have no
// gradient, and no step changes them.
TEST(SharedKeys, AdaptersOfKeysThatNobodyComputesStayAsTheyAre) {
  for (const RelaxationMethod method : {RelaxationMethod::kLora, RelaxationMethod::kDora}) {
    ModelSpec spec =
        testing::spec_named(method == RelaxationMethod::kLora ? "recursive-lora" : "recursive-dora");
    spec.kv = KvMode::kShared;
    spec.relaxation->targets = {Projection::kQ, Projection::kK, Projection::kV};
    SmallModel model = testing::small_model("adapted", spec);
    std::vector<int32_t> unread;
    for_each_unrolled_layer(model.plan, [&](const Segment& segment, const Layer& layer, int32_t depth) {
      if (key_source(segment, layer, depth) != KeySource::kFirstDepth) return;
      for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
        if (matrix.projection == Projection::kQ) continue;
        for (const ParamRef& ref : {matrix.adapter->a, matrix.adapter->b, matrix.adapter->magnitude})
          if (ref.present()) unread.push_back(ref.at(depth));
      }
    });
    ASSERT_FALSE(unread.empty());
    for (const int32_t param : unread)
      std::ranges::fill(model.parameters->values(param), std::numeric_limits<float>::quiet_NaN());
    const Batch batch = random_batch(model.plan, {19, 12});
    for (const bool checkpointing : {false, true}) {
      ForwardOptions options;
      options.gradient_checkpointing = checkpointing;
      model.parameters->clear_gradients();
      Executor executor(model.plan, *model.parameters);
      const ForwardResult result = executor.forward(batch, options);
      result.loss.backward();
      EXPECT_TRUE(std::isfinite(result.loss_lm));
      for (const int32_t param : unread)
        EXPECT_TRUE(std::as_const(*model.parameters).gradient(param).empty());
    }
    for (const int32_t param : unread) std::ranges::fill(model.parameters->values(param), 0.5F);
    const OptimizerConfig config{.weight_decay = 0.1};
    Optimizer optimizer(model.plan, config, *model.parameters);
    const GradientNorms norms = optimizer.gradient_norms();
    EXPECT_TRUE(std::isfinite(norms.model));
    optimizer.update(1, 0.01, norms);
    for (const int32_t param : unread) {
      for (const float value : model.parameters->values(param)) EXPECT_EQ(value, 0.5F);
    }
  }
}

}  // namespace
}  // namespace fathom::train
