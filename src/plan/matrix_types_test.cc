#include "plan/matrix_types.h"

#include <gtest/gtest.h>

#include <set>

#include "plan/spec_io.h"
#include "plan/work.h"

namespace fathom {
namespace {

ModelPlan built_in(const std::string& name) {
  return *build_plan(*load_spec(std::string(FATHOM_SOURCE_DIR) + "/configs/models/" + name + ".toml"));
}

// Last parts of the names of parameters that are matrices but not int8.
std::set<std::string> kept(const ModelPlan& plan) {
  std::set<std::string> names;
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const auto param = static_cast<int32_t>(p);
    if (may_be_bf16(plan.params[p].role) && !may_be_int8(plan, param))
      names.insert(plan.params[p].name.substr(plan.params[p].name.rfind('.') + 1));
  }
  return names;
}

TEST(MatrixTypes, WhatIsSmallOrFragileIsFloatInEveryType) {
  for (const char* name : {"phi-4-mini-flash", "sambay2-d8", "sgdny-d8", "mor-360m-nr3"}) {
    const ModelPlan plan = built_in(name);
    for (size_t p = 0; p < plan.params.size(); ++p) {
      const ParamRole role = plan.params[p].role;
      if (may_be_bf16(role)) continue;
      for (DType type : {DType::kF32, DType::kBF16, DType::kI8, DType::kI4})
        EXPECT_EQ(type_of(plan, static_cast<int32_t>(p), type), DType::kF32) << plan.params[p].name;
    }
  }
}

TEST(MatrixTypes, RatesOfRecurrencesStayHigh) {
  EXPECT_EQ(kept(built_in("phi-4-mini-flash")), std::set<std::string>{"dt_proj"});
  EXPECT_EQ(kept(built_in("sambay2-d8")), std::set<std::string>{"in_dt"});
  EXPECT_EQ(kept(built_in("sgdny-d8")), (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(kept(built_in("smollm-360m")), std::set<std::string>{});
}

TEST(MatrixTypes, AnEmbeddingIsInt8IfItIsTheHead) {
  const ModelPlan tied = built_in("smollm-135m");
  ASSERT_EQ(tied.embedding.first, tied.head.first);
  EXPECT_EQ(type_of(tied, tied.embedding.first, DType::kI8), DType::kI8);
  ModelSpec spec = tied.spec;
  spec.tie_word_embeddings = false;
  const ModelPlan apart = *build_plan(spec);
  EXPECT_EQ(type_of(apart, apart.embedding.first, DType::kI8), DType::kBF16);
  EXPECT_EQ(type_of(apart, apart.head.first, DType::kI8), DType::kI8);
}

TEST(MatrixTypes, BytesAreOneAWeightAndFourARow) {
  const ModelPlan plan = built_in("smollm-135m");
  int64_t bytes = 0;
  for (const Param& param : plan.params) {
    bytes += param.shape.size() == 2 ? param.shape[0] * (param.shape[1] + 4) : 4 * param.shape[0];
  }
  EXPECT_EQ(count_weight_bytes(plan, DType::kI8), bytes);
  // All of a decoded token's matrices, and one row of the head as the embedding.
  const DecodeBytes decoded = count_decode_bytes(plan, 0, 1, DType::kI8, DType::kBF16);
  EXPECT_DOUBLE_EQ(decoded.weights(), static_cast<double>(bytes) + 576 + 4);
}

// Half a byte a weight and two a group; the head is int8, the rest as it is beside int8.
TEST(MatrixTypes, Int4IsOfTheMatricesThatMayBeInt8ButForTheHead) {
  for (const char* name : {"phi-4-mini-flash", "sambay2-d8", "sgdny-d8", "smollm-135m"}) {
    const ModelPlan plan = built_in(name);
    for (const int64_t group : {32, 64, 128}) {
      const MatrixTypes types(DType::kI4, group);
      int64_t bytes = 0;
      for (size_t p = 0; p < plan.params.size(); ++p) {
        const auto param = static_cast<int32_t>(p);
        const DType type = type_of(plan, param, types), other = type_of(plan, param, DType::kI8);
        EXPECT_EQ(type, other == DType::kI8 && param != plan.head.first ? DType::kI4 : other);
        EXPECT_EQ(group_of(plan, param, types), type == DType::kI4 ? group : 0);
        const int64_t rows = plan.params[p].shape.front(), columns = plan.params[p].shape.back();
        bytes += type == DType::kI4 ? rows * ((columns + 31) / 32 * 16 + 2 * ((columns + group - 1) / group))
                                    : bytes_of(plan, param, DType::kI8);
      }
      EXPECT_EQ(count_weight_bytes(plan, types), bytes) << name << " in groups of " << group;
    }
  }
}

TEST(MatrixTypes, AParameterMayHaveATypeOfItsOwn) {
  const ModelPlan plan = built_in("smollm-135m");
  MatrixTypes types(DType::kI4, 128);
  const int64_t all = count_weight_bytes(plan, types);
  int32_t param = 0;
  while (!may_be_int4(plan, param)) ++param;
  types.own[param] = {DType::kI8};
  types.own[param + 1] = {DType::kI4, 32};
  EXPECT_EQ(type_of(plan, param, types), DType::kI8);
  EXPECT_EQ(group_of(plan, param, types), 0);
  EXPECT_EQ(group_of(plan, param + 1, types), 32);
  EXPECT_EQ(count_weight_bytes(plan, types) - all,
            bytes_of(plan, param, DType::kI8) - bytes_of(plan, param, MatrixTypes(DType::kI4, 128)) +
                bytes_of(plan, param + 1, MatrixTypes(DType::kI4, 32)) -
                bytes_of(plan, param + 1, MatrixTypes(DType::kI4, 128)));
}

}  // namespace
}  // namespace fathom
