// Adapters that nobody reads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/executor.h"
#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom {
namespace {

using namespace testing_plan;

std::vector<float> logits_of(const ModelPlan& plan, const Weights& weights) {
  SerialParallel serial;
  const std::vector<int32_t> tokens = {1, 5, 9, 2, 77, 31, 8};
  const auto rows = static_cast<int64_t>(tokens.size());
  Executor executor(plan, weights, rows, rows, serial);
  SequenceState state = executor.make_state(DType::kF32);
  ForwardOptions options;
  options.logits = Logits::kAll;
  const float* logits = executor.forward(state, tokens, options).logits;
  return {logits, logits + rows * plan.dims.vocab_size};
}

// Published files hold the adapters of keys and values of every depth, of which those that a depth takes from
// the first one change nothing.
TEST(RelaxedLayers, AdaptersOfKeysThatNobodyComputesAreNotRead) {
  for (const RelaxationMethod method : {RelaxationMethod::kLora, RelaxationMethod::kDora}) {
    ModelSpec spec = relaxed(tiny_recursive(Sharing::kMiddleCycle, 3), method);
    spec.kv = KvMode::kShared;
    spec.relaxation->targets = {Projection::kQ, Projection::kK, Projection::kV};
    const ModelPlan plan = *build_plan(spec);
    SerialParallel serial;
    Weights weights = random_weights(plan, 3, DType::kF32, serial);
    const std::vector<float> before = logits_of(plan, weights);
    int64_t spoiled = 0;
    for_each_unrolled_layer(plan, [&](const Segment& segment, const Layer& layer, int32_t depth) {
      for (const AdaptedMatrix& matrix : adapted_matrices(layer)) {
        const bool unread = key_source(segment, layer, depth) == KeySource::kFirstDepth &&
                            matrix.projection != Projection::kQ;
        if (!unread) continue;
        for (const ParamRef& ref : {matrix.adapter->a, matrix.adapter->b, matrix.adapter->magnitude}) {
          if (!ref.present()) continue;
          const int32_t param = ref.at(depth);
          const int64_t count = elements_of(plan.params[static_cast<size_t>(param)]);
          auto* values = static_cast<float*>(weights.allocate(param, DType::kF32, 1, count));
          std::fill_n(values, count, std::numeric_limits<float>::quiet_NaN());
          ++spoiled;
        }
      }
    });
    EXPECT_EQ(spoiled, method == RelaxationMethod::kLora ? 2 * 2 * 2 * 2 : 2 * 2 * 2 * 3);
    EXPECT_EQ(logits_of(plan, weights), before);
    EXPECT_TRUE(std::isfinite(before.front()));
  }
}

}  // namespace
}  // namespace fathom
