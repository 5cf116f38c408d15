// An observer sees every kernel and changes nothing.
#include "engine/op_profile.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "engine/executor.h"
#include "plan/testing.h"
#include "weights/random_weights.h"

namespace fathom {
namespace {

using namespace testing_plan;

std::vector<ModelSpec> specs() {
  return {tiny(), tiny_mor(Sharing::kMiddleCycle, 3), hybrid("sambay", 8), hybrid("sambay2", 8),
          hybrid("sgdny", 8)};
}

// A prompt of 11 tokens and two more; all logits one after the other.
std::vector<float> logits_of(const ModelPlan& plan, OpObserver* observer) {
  ThreadPool pool(2);
  const Weights weights = random_weights(plan, 3, DType::kF32, pool);
  Executor executor(plan, weights, 11, 16, pool);
  executor.set_observer(observer);
  SequenceState state = executor.make_state(DType::kF32);
  const std::vector<int32_t> tokens = {1, 5, 9, 2, 77, 31, 8, 8, 64, 3, 12, 40, 41};
  std::vector<float> out;
  for (const auto& [begin, rows] : std::vector<std::pair<size_t, size_t>>{{0, 11}, {11, 1}, {12, 1}}) {
    const float* logits = executor.forward(state, std::span(tokens).subspan(begin, rows), {}).logits;
    out.insert(out.end(), logits, logits + plan.dims.vocab_size);
  }
  return out;
}

// Counts, and fails on a begin without an end.
class Counter final : public OpObserver {
 public:
  void begin(EngineOp op) override {
    EXPECT_FALSE(running_) << name_of(op);
    running_ = true;
    now_ = op;
    ++calls[static_cast<size_t>(op)];
  }
  void end(EngineOp op) override {
    EXPECT_TRUE(running_ && now_ == op) << name_of(op);
    running_ = false;
  }
  int64_t of(EngineOp op) const { return calls[static_cast<size_t>(op)]; }
  bool running() const { return running_; }
  std::array<int64_t, kEngineOps> calls{};

 private:
  bool running_ = false;
  EngineOp now_{};
};

TEST(OpObserver, ChangesNoBit) {
  for (const ModelSpec& spec : specs()) {
    const ModelPlan plan = *build_plan(spec);
    Counter counter;
    const std::vector<float> alone = logits_of(plan, nullptr), watched = logits_of(plan, &counter);
    ASSERT_EQ(alone.size(), watched.size());
    EXPECT_EQ(std::memcmp(alone.data(), watched.data(), alone.size() * sizeof(float)), 0)
        << spec.architecture;
  }
}

TEST(OpObserver, SeesEveryKernelOfEveryLayer) {
  for (const ModelSpec& spec : specs()) {
    SCOPED_TRACE(spec.architecture);
    const ModelPlan plan = *build_plan(spec);
    Counter counter;
    logits_of(plan, &counter);
    EXPECT_FALSE(counter.running());
    EXPECT_EQ(counter.of(EngineOp::kEmbedding), 3);
    EXPECT_EQ(counter.of(EngineOp::kHead), 3);
    if (spec.router) {
      // Every call asks the router of the first pass; later passes have the rows that the rule keeps.
      EXPECT_GE(counter.of(EngineOp::kRouter), 3);
      EXPECT_GE(counter.of(EngineOp::kGatherRows), 6);
      EXPECT_GE(counter.of(EngineOp::kScatterAddRows), 3);
      continue;
    }
    int64_t layers = 0, attention = 0, own_keys = 0, gated = 0, rotated = 0;
    std::map<BlockKind, int64_t> kinds;
    for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
      ++layers;
      ++kinds[layer.kind()];
      if (const auto* a = std::get_if<Attention>(&layer.mixer)) {
        ++attention;
        own_keys += a->cross ? 0 : 1;
        rotated += a->rope ? 2 : 0;
      } else {
        ++gated;
      }
    });
    EXPECT_EQ(counter.of(EngineOp::kNorm), 3 * (2 * layers + 1));
    EXPECT_EQ(counter.of(EngineOp::kSwiglu), 3 * layers);
    EXPECT_EQ(counter.of(EngineOp::kAttention), 3 * attention);
    EXPECT_EQ(counter.of(EngineOp::kKvAppend), 3 * own_keys);
    EXPECT_EQ(counter.of(EngineOp::kRope), 3 * rotated);
    const int64_t mamba = kinds[BlockKind::kMamba], mamba2 = kinds[BlockKind::kMamba2],
                  delta = kinds[BlockKind::kGatedDelta];
    EXPECT_EQ(counter.of(EngineOp::kSelectiveScan), 3 * mamba);
    EXPECT_EQ(counter.of(EngineOp::kSsdScan), 3 * mamba2);
    EXPECT_EQ(counter.of(EngineOp::kGatedDelta), 3 * delta);
    // Gated DeltaNet convolves q, k and v, each by itself.
    EXPECT_EQ(counter.of(EngineOp::kCausalConv1d), 3 * (mamba + mamba2 + 3 * delta));
    EXPECT_EQ(counter.of(EngineOp::kGatedMemory), 3 * gated);
    EXPECT_GE(counter.of(EngineOp::kLinear), 3 * 2 * layers);
    EXPECT_EQ(counter.of(EngineOp::kRouter), 0);
  }
}

TEST(OpProfile, AddsUpWhatEachOpTook) {
  FakeClock clock;
  OpProfile profile(clock);
  for (double seconds : {2.0, 3.0}) {
    profile.begin(EngineOp::kLinear);
    clock.advance(seconds);
    profile.end(EngineOp::kLinear);
    clock.advance(10);
  }
  profile.begin(EngineOp::kHead);
  clock.advance(0.5);
  profile.end(EngineOp::kHead);
  EXPECT_EQ(profile.at(EngineOp::kLinear).seconds, 5);
  EXPECT_EQ(profile.at(EngineOp::kLinear).calls, 2);
  EXPECT_EQ(profile.at(EngineOp::kHead).calls, 1);
  EXPECT_EQ(profile.at(EngineOp::kRope).calls, 0);
  EXPECT_EQ(profile.seconds(), 5.5);
}

}  // namespace
}  // namespace fathom
