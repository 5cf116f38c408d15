// Every specification in configs/models/tiny with random weights large enough that every path matters.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "plan/model_plan.h"
#include "plan/spec_io.h"

namespace fathom::testing {

inline std::vector<float> random_values(const Param& param, uint64_t stream) {
  int64_t count = 1;
  for (int64_t extent : param.shape) count *= extent;
  std::vector<float> values(static_cast<size_t>(count));
  const double fan_in = static_cast<double>(param.shape.back());
  for (size_t i = 0; i < values.size(); ++i) {
    const float drawn = normal(11, stream, i);
    switch (param.role) {
      case ParamRole::kNorm:
      case ParamRole::kRelaxation:
      case ParamRole::kSsmD:
        values[i] = 1.0F + 0.2F * drawn;
        break;
      case ParamRole::kSsmA:
        values[i] = std::log(static_cast<float>(i % static_cast<size_t>(fan_in) + 1));
        break;
      case ParamRole::kDtBias:
        values[i] = -3.0F + 0.5F * drawn;
        break;
      case ParamRole::kBias:
        values[i] = 0.1F * drawn;
        break;
      case ParamRole::kRouterBias:
        values[i] = 0.02F * drawn;
        break;
      case ParamRole::kRouter:
      case ParamRole::kAuxRouter:
        values[i] = 0.3F * drawn;
        break;
      default:
        values[i] = drawn / static_cast<float>(std::sqrt(fan_in));
        break;
    }
  }
  return values;
}

struct TinyModel {
  std::string name;
  ModelPlan plan;
  std::vector<std::vector<float>> values;  // by parameter
};

// Calls body with every tiny model; there must be some.
inline void for_each_tiny_model(const std::function<void(const TinyModel&)>& body) {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FATHOM_SOURCE_DIR "/configs/models/tiny")) {
    SCOPED_TRACE(entry.path().stem().string());
    const Result<ModelSpec> spec = load_spec(entry.path().string());
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    Result<ModelPlan> plan = build_plan(*spec);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    TinyModel model{entry.path().stem().string(), std::move(plan).value(), {}};
    for (size_t p = 0; p < model.plan.params.size(); ++p)
      model.values.push_back(random_values(model.plan.params[p], p));
    body(model);
    ++models;
  }
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

}  // namespace fathom::testing
