// Small models with weights large enough that every path matters, for the tests of the training executor.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "plan/spec_io.h"
#include "train/executor.h"
#include "train/parameters.h"

namespace fathom::train::testing {

struct SmallModel {
  std::string name;
  ModelPlan plan;
  std::unique_ptr<Parameters> parameters;
};

inline float weight_of(const Param& param, uint64_t stream, uint64_t element) {
  const float drawn = normal(11, stream, element);
  const int64_t columns = param.shape.back();
  switch (param.role) {
    case ParamRole::kNorm:
    case ParamRole::kRelaxation:
    case ParamRole::kSsmD:
      return 1.0F + 0.2F * drawn;
    case ParamRole::kSsmA:
      return std::log(static_cast<float>(element % static_cast<uint64_t>(columns) + 1)) + 0.1F * drawn;
    case ParamRole::kDtBias:
      return -2.0F + 0.5F * drawn;
    case ParamRole::kBias:
      return 0.1F * drawn;
    case ParamRole::kRouter:
    case ParamRole::kAuxRouter:
      return 0.3F * drawn;
    default:
      return drawn / std::sqrt(static_cast<float>(columns));
  }
}

// Whether the loss does not depend on the parameter, so that all there is of its gradient is rounding: a bias
// of keys without positions moves all logits of a query alike.
inline bool cancels(const ModelPlan& plan, int32_t param) {
  bool found = false;
  for_each_unrolled_layer(plan, [&](const Segment&, const Layer& layer, int32_t depth) {
    const auto* attention = std::get_if<Attention>(&layer.mixer);
    found |= attention != nullptr && !attention->rope && attention->k_bias.present() &&
             attention->k_bias.at(depth) == param;
  });
  return found;
}

// Whether a gradient comes back to the parameter: biases of load balancing have none, and projections of keys
// that a depth reads from another one exist in published files alone.
inline bool learns(const ModelPlan& plan, int32_t param) {
  if (plan.params[static_cast<size_t>(param)].role == ParamRole::kRouterBias) return false;
  bool read = true;
  for_each_unrolled_layer(plan, [&](const Segment& segment, const Layer& layer, int32_t depth) {
    const auto* attention = std::get_if<Attention>(&layer.mixer);
    if (attention == nullptr || key_source(segment, layer, depth) != KeySource::kFirstDepth) return;
    for (const ParamRef& ref : {attention->k, attention->v})
      read &= ref.stride == 0 || ref.at(depth) != param;
  });
  return read;
}

inline SmallModel small_model(const std::string& name, const ModelSpec& spec) {
  Result<ModelPlan> plan = build_plan(spec);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  SmallModel model{name, std::move(plan).value(), nullptr};
  model.parameters = std::make_unique<Parameters>(model.plan);
  for (size_t p = 0; p < model.plan.params.size(); ++p) {
    const std::span<float> values = model.parameters->values(static_cast<int32_t>(p));
    for (size_t i = 0; i < values.size(); ++i) values[i] = weight_of(model.plan.params[p], p, i);
  }
  return model;
}

inline ModelSpec spec_named(const std::string& name) {
  const Result<ModelSpec> spec = load_spec(FATHOM_SOURCE_DIR "/configs/models/tiny/" + name + ".toml");
  EXPECT_TRUE(spec.ok()) << spec.error().message;
  return *spec;
}

// The middle_cycle model of three recursions with auxiliary losses heavy enough to be seen beside the other.
inline ModelSpec routed_spec() {
  ModelSpec spec = spec_named("mor-middle_cycle-nr3");
  spec.router->loss_coefficient = 0.5;
  spec.router->z_coefficient = 0.05;
  return spec;
}

// Every model of configs/models/tiny, and the routers that those files do not have.
inline void for_each_small_model(const std::function<void(SmallModel&)>& body) {
  int models = 0;
  const auto run = [&](const std::string& name, const ModelSpec& spec) {
    SCOPED_TRACE(name);
    SmallModel model = small_model(name, spec);
    body(model);
    ++models;
  };
  for (const auto& entry : std::filesystem::directory_iterator(FATHOM_SOURCE_DIR "/configs/models/tiny")) {
    run(entry.path().stem().string(), spec_named(entry.path().stem().string()));
  }
  run("routed, heavy losses", routed_spec());
  ModelSpec spec = routed_spec();
  spec.router->score = ScoreFunction::kTanh;
  spec.router->gating = Gating::kAdditive;
  run("tanh, additive", spec);
  spec = routed_spec();
  spec.router->score = ScoreFunction::kNone;
  spec.router->temperature = 2;
  spec.router->capacity = {0.75, 0.5, 0.25};
  run("bare logits, first pass selects", spec);
  spec = spec_named("mor-token-loss-free");
  spec.router->random = true;
  spec.router->loss = RouterLoss::kNone;
  spec.router->z_coefficient = 0;
  run("random depths", spec);
  spec = spec_named("recursive-dora");
  spec.attention_bias = true;
  run("dora with biases", spec);
  EXPECT_GE(models, 40);
}

inline std::vector<int32_t> random_tokens(int64_t count, int64_t vocab, uint64_t stream) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(
        static_cast<int32_t>(uniform(5, stream, static_cast<uint64_t>(i)) * static_cast<float>(vocab)));
  }
  return tokens;
}

// Sequences of these lengths; every fifth row has no label.
inline Batch random_batch(const ModelPlan& plan, const std::vector<int64_t>& lengths) {
  Batch batch;
  for (size_t s = 0; s < lengths.size(); ++s) {
    std::vector<int32_t> labels = random_tokens(lengths[s], plan.dims.vocab_size, 100 + s);
    for (size_t i = 4; i < labels.size(); i += 5) labels[i] = -100;
    batch.add(random_tokens(lengths[s], plan.dims.vocab_size, s), labels);
  }
  return batch;
}

// Passes that each row made.
inline std::vector<uint8_t> depths_of(const ForwardResult& result, int64_t rows) {
  std::vector<uint8_t> depths(static_cast<size_t>(rows), 0);
  for (size_t r = 0; r < result.passes.size(); ++r) {
    for (int32_t row : result.passes[r].kept) depths[static_cast<size_t>(row)] = static_cast<uint8_t>(r + 1);
  }
  return depths;
}

inline std::span<const float> values_of(const Tensor& tensor) {
  return {tensor.const_data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

}  // namespace fathom::train::testing
