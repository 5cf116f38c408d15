#include "plan/work.h"

#include <gtest/gtest.h>

#include "plan/spec_io.h"
#include "plan/testing.h"

namespace fathom {
namespace {

using namespace testing_plan;

std::vector<ModelPlan> plans() {
  std::vector<ModelPlan> out;
  for (const ModelSpec& spec :
       {tiny(), tiny_recursive(Sharing::kMiddleCycle, 3), tiny_mor(Sharing::kMiddleCycle, 3),
        hybrid("sambay", 8), hybrid("samba", 8)}) {
    out.push_back(*build_plan(spec));
  }
  return out;
}

double bytes_of_parameters(const ModelPlan& plan, DType matrix_type) {
  double total = 0;
  for (const Param& param : plan.params) {
    double elements = 1;
    for (int64_t extent : param.shape) elements *= static_cast<double>(extent);
    total += elements * (may_be_bf16(param.role) && matrix_type == DType::kBF16 ? 2 : 4);
  }
  return total;
}

TEST(Work, OfAWholeSequenceIsThePlansCount) {
  for (const ModelPlan& plan : plans()) {
    const FlopCount work = count_work(plan, 0, 48, 48), each = count_flops(plan, 48);
    EXPECT_DOUBLE_EQ(work.linear, 48 * each.linear);
    EXPECT_DOUBLE_EQ(work.attention, 48 * each.attention);
    EXPECT_DOUBLE_EQ(work.scan, 48 * each.scan);
    EXPECT_DOUBLE_EQ(work.head, 48 * each.head);
    EXPECT_DOUBLE_EQ(work.router, 48 * each.router);
    EXPECT_DOUBLE_EQ(count_work(plan, 0, 48, 1).head, each.head);
  }
}

TEST(Work, IsTheSumOfItsCalls) {
  for (const ModelPlan& plan : plans()) {
    const double whole = count_work(plan, 0, 50, 3).total();
    const double cut = count_work(plan, 0, 7, 1).total() + count_work(plan, 7, 31, 1).total() +
                       count_work(plan, 31, 50, 1).total();
    EXPECT_NEAR(cut / whole, 1, 1e-12);
  }
}

TEST(Work, OfAPrefillWhoseTokensAreAllWantedIsAllWork) {
  for (const ModelPlan& plan : plans())
    EXPECT_NEAR(count_prefill_work(plan, 7, 48, 41).total() / count_work(plan, 7, 48, 41).total(), 1, 1e-12);
}

// Decoder-Hybrid-Decoder 6.1: 1,872 of 3,340 million linear parameters are touched by a prompt's token.
TEST(Work, OfAPromptsTokenInPhi4MiniFlash) {
  const ModelPlan plan = *build_plan(*load_spec(FATHOM_SOURCE_DIR "/configs/models/phi-4-mini-flash.toml"));
  EXPECT_NEAR(count_prefill_work(plan, 0, 100, 0).linear / 100 / 2 / 1e6, 1872, 3);
  EXPECT_NEAR(count_work(plan, 0, 100, 0).linear / 100 / 2 / 1e6, 3340, 3);
}

TEST(Work, OfTheWantedTokensOfAPrefillIsWhatFollowsTheLastState) {
  const ModelPlan plan = *build_plan(hybrid("sambay", 8));
  const double one = count_prefill_work(plan, 0, 40, 1).total() - count_prefill_work(plan, 0, 40, 0).total();
  double expected = count_work(plan, 39, 40, 1).total();
  const Segment& segment = plan.segments.front();
  for (size_t l = 0; l < 5; ++l) {
    const Layer& layer = segment.layers[l];
    expected -= 40 * count_layer_flops(plan, segment, layer, 0, 40).total() -
                39 * count_layer_flops(plan, segment, layer, 0, 39).total();
  }
  expected -= count_layer_state_flops(plan, segment.layers[5]).total();
  EXPECT_NEAR(one / expected, 1, 1e-9);
}

// The token at position p of a plain model attends p + 1 keys: 2 products of 2 FLOPs in every layer.
TEST(Work, AttentionOfOnePosition) {
  const ModelPlan plan = *build_plan(tiny());
  EXPECT_NEAR(count_work(plan, 20, 21, 1).attention, 8 * 4 * 32 * 21.0, 1e-6);
}

TEST(DecodeBytes, OfAPlainModelAreItsParametersAndItsKeys) {
  const ModelPlan plan = *build_plan(tiny());  // tied: the head is the embedding
  for (DType type : {DType::kF32, DType::kBF16}) {
    const auto size = static_cast<double>(size_of(type));
    const DecodeBytes bytes = count_decode_bytes(plan, 20, 21, type, type);
    EXPECT_DOUBLE_EQ(bytes.weights(), bytes_of_parameters(plan, type) + 32 * size);
    EXPECT_DOUBLE_EQ(bytes.weights(), static_cast<double>(count_weight_bytes(plan, type)) + 32 * size);
    EXPECT_DOUBLE_EQ(bytes.head, 97 * 32 * size);
    // 8 layers, 2 key heads of 8, key and value: 21 read and one written.
    EXPECT_NEAR(bytes.kv, 8 * 2 * 2 * 8 * size * 22, 1e-6);
    EXPECT_EQ(bytes.state(), 0);
    EXPECT_EQ(static_cast<double>(count_state(plan, type).per_token), 8 * 2 * 2 * 8 * size);
  }
}

TEST(DecodeBytes, OverAStretchAreTheMeanOfItsTokens) {
  for (const ModelPlan& plan : plans()) {
    double total = 0;
    for (int64_t p = 5; p < 45; ++p)
      total += count_decode_bytes(plan, p, p + 1, DType::kBF16, DType::kF32).total();
    EXPECT_NEAR(count_decode_bytes(plan, 5, 45, DType::kBF16, DType::kF32).total() / (total / 40), 1, 1e-9);
  }
}

TEST(DecodeBytes, OfSambaYReadTheSharedKeysInEveryCrossLayer) {
  ModelSpec spec = hybrid("sambay", 8);
  spec.sliding_window = 4;
  const ModelPlan plan = *build_plan(spec);
  int windows = 0, full = 0, cross = 0, mamba = 0;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t) {
    const auto* attention = std::get_if<Attention>(&layer.mixer);
    if (attention == nullptr) {
      mamba += layer.kind() == BlockKind::kMamba ? 1 : 0;
    } else if (attention->cross) {
      ++cross;
    } else {
      ++(attention->window > 0 ? windows : full);
    }
  });
  ASSERT_TRUE(windows > 0 && full == 1 && cross > 0 && mamba > 0);
  const DecodeBytes bytes = count_decode_bytes(plan, 30, 31, DType::kF32, DType::kF32);
  const double entry = 2 * 2 * 8 * 4;
  EXPECT_NEAR(bytes.kv, entry * (windows * (4 + 1) + full * (31 + 1) + cross * 31), 1e-6);
  // Read and written; what is left of a sequence's constant state are the windows.
  EXPECT_NEAR(bytes.state() / 2 + windows * 4 * entry,
              static_cast<double>(count_state(plan, DType::kF32).per_sequence), 1e-6);
}

// Every recurrent mixer reads and writes what the sequence keeps of it, and every parameter once.
TEST(DecodeBytes, OfRecurrentMixersAreTheirStateTwiceAndTheirParameters) {
  for (const char* name : {"mambay", "mambay2", "gdny"}) {
    SCOPED_TRACE(name);
    ModelSpec spec = hybrid(name, 8);
    spec.tie_word_embeddings = false;
    const ModelPlan plan = *build_plan(spec);
    const DecodeBytes bytes = count_decode_bytes(plan, 5, 6, DType::kF32, DType::kF32);
    EXPECT_EQ(bytes.state() / 2, static_cast<double>(count_state(plan, DType::kF32).per_sequence));
    const ParameterCount count = count_parameters(plan);
    const auto row = static_cast<double>(plan.dims.hidden_size);  // of the embedding
    EXPECT_NEAR(bytes.products + bytes.head + bytes.small,
                4 * (static_cast<double>(count.unique - count.embedding) + row), 1e-6);
  }
}

// Keys that another layer wrote are those of all tokens, however few come to a depth.
TEST(DecodeBytes, OfACrossDecoderThatRecursReadAllKeysAtEveryDepth) {
  ModelSpec spec = hybrid("sambay", 12);
  spec.sharing = Sharing::kCycle;
  spec.num_recursion = 2;
  spec.router = RouterSpec{};
  const ModelPlan plan = *build_plan(spec);
  const auto at = [&](std::vector<double> shares) {
    return count_decode_bytes(with_depth_shares(plan, shares), 30, 31, DType::kF32, DType::kF32).kv;
  };
  const double entry = 2 * 2 * 8 * 4;
  EXPECT_NEAR(at({1, 1}) - at({1, 0}), 31 * entry, 1e-6);
  EXPECT_NEAR(at({1, 0.25}) - at({1, 0}), 0.25 * 31 * entry, 1e-6);
  const auto flops = [&](std::vector<double> shares) {
    return count_flops(with_depth_shares(plan, shares), 64).attention;
  };
  EXPECT_NEAR(flops({1, 0.25}) - flops({1, 0}), 0.25 * (flops({1, 1}) - flops({1, 0})), 1e-6);
}

TEST(DecodeBytes, CountALayerAtEveryDepthThatIsRun) {
  const ModelPlan plan = *build_plan(tiny_mor(Sharing::kMiddleCycle, 3));
  const auto at = [&](std::vector<double> shares) {
    return count_decode_bytes(with_depth_shares(plan, shares), 10, 11, DType::kF32, DType::kF32);
  };
  // 8 layers: the first, the last, and 2 shared ones run up to three times.
  const double layer = at({1, 1, 1}).products / 8;
  EXPECT_NEAR(at({1}).products, 4 * layer, 1e-6);
  EXPECT_NEAR(at({1, 0.5}).products, 5 * layer, 1e-6);
  EXPECT_NEAR(at({1, 1, 1}).kv, 8 * 2 * 2 * 8 * 4 * 12, 1e-6);
  EXPECT_NEAR(count_flops(with_depth_shares(plan, std::vector<double>{1, 1, 1}), 64).linear,
              count_flops(*build_plan(tiny_recursive(Sharing::kMiddleCycle, 3)), 64).linear, 1e-6);
}

}  // namespace
}  // namespace fathom
