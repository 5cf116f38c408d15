// Reference rounding and states of bfloat16 do what they say: the values that the published code stores are
// bfloat16, those that it does not are float, a layer computed by hand in those steps is the engine's.
#include <cstring>
#include <map>

#include "base/half.h"
#include "engine/executor.h"
#include "plan/matrix_types.h"
#include "tests/parity/tiny_models.h"
#include "weights/int8_rows.h"

namespace fathom {
namespace {

using testing::TinyModel;

// The tiny Phi-4-mini-flash, every value bfloat16, as in a published file.
TinyModel phi() {
  TinyModel model{
      "phi4flash", *build_plan(*load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/phi4flash.toml")), {}};
  for (size_t p = 0; p < model.plan.params.size(); ++p) {
    model.values.push_back(testing::random_values(model.plan.params[p], p));
    for (float& value : model.values.back()) value = round_to_bfloat16(value);
  }
  return model;
}

Weights weights_of(const TinyModel& model) {
  Weights weights(model.plan.params.size());
  for (size_t p = 0; p < model.plan.params.size(); ++p) {
    const auto param = static_cast<int32_t>(p);
    const DType type = type_of(model.plan, param, DType::kBF16);
    store_rows(model.values[p], model.plan.params[p].shape.back(), type,
               weights.allocate(param, type, 1, elements_of(model.plan.params[p])), nullptr);
  }
  return weights;
}

double share_of_bf16(const std::vector<float>& values) {
  double same = 0;
  for (const float value : values) same += value == round_to_bfloat16(value) ? 1 : 0;
  return same / static_cast<double>(values.size());
}

struct Outcome {
  std::vector<float> logits;
  std::map<std::string, std::vector<float>> traced;
  std::vector<float> states;  // recurrent ones, at the end
};

Outcome run(const TinyModel& model, const Numerics& numerics, int64_t chunk) {
  SerialParallel serial;
  const Weights weights = weights_of(model);
  const std::vector<int32_t> tokens = testing::random_tokens(40, model.plan.dims.vocab_size, 1);
  Executor executor(model.plan, weights, 40, 40, serial, numerics);
  Outcome outcome;
  executor.set_trace([&](std::string_view name, const float* data, int64_t rows, int64_t columns) {
    std::vector<float>& to = outcome.traced[std::string(name)];
    to.insert(to.end(), data, data + rows * columns);
  });
  SequenceState state = executor.make_state(DType::kBF16);
  for (int64_t at = 0; at < 40; at += chunk) {
    ForwardOptions options;
    options.logits = Logits::kAll;
    const auto rows = std::min<int64_t>(chunk, 40 - at);
    const ForwardResult result = executor.forward(
        state, std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(rows)), options);
    outcome.logits.insert(outcome.logits.end(), result.logits,
                          result.logits + rows * model.plan.dims.vocab_size);
  }
  for (size_t s = 0; s < model.plan.slots.size(); ++s) {
    if (model.plan.slots[s].kind != SlotKind::kSsmState) continue;
    const std::span<const float> values = std::as_const(state).ssm(static_cast<SlotId>(s), 0).values();
    outcome.states.insert(outcome.states.end(), values.begin(), values.end());
  }
  return outcome;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double errors = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    errors += std::pow(a[i] - b[i], 2);
    squares += std::pow(b[i], 2);
  }
  return std::sqrt(errors / squares);
}

const Numerics kReference{.rounding = Rounding::kReference, .state_type = DType::kBF16};
const Numerics kReferenceWithFloatStates{.rounding = Rounding::kReference, .state_type = DType::kF32};

TEST(Rounding, WhatThePublishedCodeStoresIsBf16AndTheResidualStreamIsFloat) {
  const TinyModel model = phi();
  const Outcome fast = run(model, {}, 40), reference = run(model, kReference, 40);
  for (const char* name : {"final_norm", "memory"}) {
    EXPECT_EQ(share_of_bf16(reference.traced.at(name)), 1) << name;
    EXPECT_LT(share_of_bf16(fast.traced.at(name)), 0.1) << name;
  }
  EXPECT_EQ(share_of_bf16(reference.logits), 1);
  EXPECT_LT(share_of_bf16(fast.logits), 0.1);
  EXPECT_LT(share_of_bf16(reference.traced.at("layer.3")), 0.9);
  const double distance = relative_distance(reference.logits, fast.logits);
  EXPECT_GT(distance, 1e-4);
  EXPECT_LT(distance, 5e-2);
}

TEST(Rounding, StatesAreRoundedBetweenCallsIfAsked) {
  const TinyModel model = phi();
  EXPECT_EQ(share_of_bf16(run(model, kReference, 8).states), 1);
  const Numerics states_alone{.rounding = Rounding::kFast, .state_type = DType::kBF16};
  EXPECT_EQ(share_of_bf16(run(model, states_alone, 8).states), 1);
  EXPECT_LT(share_of_bf16(run(model, kReferenceWithFloatStates, 8).states), 0.9);
}

// Rounding a row needs nothing of the others; rounding a state at the end of a call does.
TEST(Rounding, ChunksMatterToStatesOfBf16Alone) {
  const TinyModel model = phi();
  EXPECT_EQ(run(model, kReferenceWithFloatStates, 40).logits,
            run(model, kReferenceWithFloatStates, 7).logits);
  EXPECT_NE(run(model, kReference, 40).logits, run(model, kReference, 1).logits);
}

// The first layer, Mamba, of a sequence's first token: the convolution and the scan see nothing before it.
class FirstLayer {
 public:
  explicit FirstLayer(const TinyModel& model)
      : model_(model),
        layer_(model.plan.segments.front().layers.front()),
        mamba_(std::get<Mamba>(layer_.mixer)) {}

  std::vector<float> run(int32_t token) const {
    const auto hidden = static_cast<size_t>(model_.plan.dims.hidden_size);
    const float* embedding = at(model_.plan.embedding).data() + static_cast<size_t>(token) * hidden;
    std::vector<float> x(embedding, embedding + hidden);
    add(x, mix(norm(layer_.norm1, x)));
    const std::vector<float> u = norm(layer_.norm2, x);
    std::vector<float> gate = product(layer_.mlp.gate, u), up = product(layer_.mlp.up, u);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] = rounded(silu(gate[i]) * up[i]);
    add(x, product(layer_.mlp.down, gate));
    return x;
  }

 private:
  static float rounded(double value) { return round_to_bfloat16(static_cast<float>(value)); }
  static double silu(double value) { return value / (1 + std::exp(-value)); }
  const std::vector<float>& at(const ParamRef& ref) const {
    return model_.values[static_cast<size_t>(ref.first)];
  }

  std::vector<float> product(const ParamRef& ref, const std::vector<float>& x) const {
    const std::vector<float>& weight = at(ref);
    std::vector<float> y(weight.size() / x.size());
    for (size_t o = 0; o < y.size(); ++o) {
      double sum = 0;
      for (size_t i = 0; i < x.size(); ++i) sum += double{weight[o * x.size() + i]} * x[i];
      y[o] = rounded(sum);
    }
    return y;
  }
  std::vector<float> norm(const Norm& norm, std::vector<float> x) const {
    const auto count = static_cast<double>(x.size());
    double mean = 0, variance = 0;
    for (float& value : x) {
      value = rounded(value);
      mean += value / count;
    }
    for (const float value : x) variance += std::pow(value - mean, 2) / count;
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = rounded((x[i] - mean) / std::sqrt(variance + norm.eps) * at(norm.weight)[i] + at(norm.bias)[i]);
    }
    return x;
  }
  std::vector<float> mix(const std::vector<float>& u) const {
    std::vector<float> xc = product(mamba_.in_x, u);
    const std::vector<float> z = product(mamba_.in_z, u);
    const auto width = static_cast<size_t>(mamba_.conv), n = static_cast<size_t>(mamba_.state);
    const auto rank = static_cast<size_t>(mamba_.dt_rank);
    for (size_t i = 0; i < xc.size(); ++i) {
      const double sum =
          at(mamba_.conv_bias)[i] + double{at(mamba_.conv_weight)[i * width + width - 1]} * xc[i];
      xc[i] = rounded(silu(sum));
    }
    const std::vector<float> dt_b_c = product(mamba_.x_proj, xc);
    const std::vector<float> dt =
        product(mamba_.dt_proj, {dt_b_c.begin(), dt_b_c.begin() + static_cast<int64_t>(rank)});
    std::vector<float> gated(xc.size());
    for (size_t i = 0; i < xc.size(); ++i) {
      const double step = std::log1p(std::exp(double{dt[i]} + at(mamba_.dt_bias)[i]));
      double y = double{at(mamba_.d)[i]} * xc[i];
      for (size_t k = 0; k < n; ++k) y += double{dt_b_c[rank + n + k]} * step * dt_b_c[rank + k] * xc[i];
      gated[i] = rounded(y * silu(z[i]));
    }
    return product(mamba_.out_proj, gated);
  }
  static void add(std::vector<float>& x, const std::vector<float>& branch) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += branch[i];
  }

  const TinyModel& model_;
  const Layer& layer_;
  const Mamba& mamba_;
};

TEST(Rounding, ALayerByHandIsTheEngines) {
  const TinyModel model = phi();
  const std::vector<float> expected =
      FirstLayer(model).run(testing::random_tokens(1, model.plan.dims.vocab_size, 1).front());
  const auto equal_share = [&](const Numerics& numerics) {
    const std::vector<float> layer = run(model, numerics, 40).traced.at("layer.0");
    double equal = 0;
    for (size_t i = 0; i < expected.size(); ++i) equal += layer[i] == expected[i] ? 1 : 0;
    return equal / static_cast<double>(expected.size());
  };
  // A sum that lies next to a tie may be rounded either way.
  EXPECT_GT(equal_share(kReference), 0.9);
  EXPECT_LT(equal_share({}), 0.1);
}

TEST(Rounding, IsRefusedWhereNothingIsKnownOrNothingWouldChange) {
  const auto sentence = [](const char* name, DType type, const Numerics& numerics) {
    const ModelPlan plan =
        *build_plan(*load_spec(std::string(FATHOM_SOURCE_DIR "/configs/models/tiny/") + name + ".toml"));
    const Status status = check_numerics(plan, type, numerics);
    return status.ok() ? "" : status.error().message;
  };
  EXPECT_EQ(sentence("phi4flash", DType::kBF16, kReference), "");
  EXPECT_EQ(sentence("sambay", DType::kF32, {.state_type = DType::kBF16}), "");
  EXPECT_EQ(sentence("phi4flash", DType::kI8, kReference),
            "--rounding reference: the matrices are int8, expected bf16, which the published code runs in");
  EXPECT_EQ(sentence("sambay2", DType::kBF16, kReference),
            "--rounding reference: where the published code rounds is known of phi4flash, not of sambay2");
  EXPECT_EQ(sentence("llama", DType::kBF16, {.state_type = DType::kBF16}),
            "--state-dtype: this model has no recurrent layer");
}

}  // namespace
}  // namespace fathom
