// A quantised checkpoint is read as the one it was made of, but for the rounding of its matrices.
#include "weights/quantised_checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "plan/matrix_types.h"
#include "plan/testing.h"
#include "plan/work.h"
#include "weights/checkpoint.h"
#include "weights/fresh_weights.h"
#include "weights/stored_matrix.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using namespace testing_plan;

class QuantisedCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  // A fresh model in `type`, in folder_/name.
  ModelSource make(const ModelSpec& spec, const std::string& name, DType type) const {
    const std::string path = folder_ + "/" + name;
    fs::create_directories(path);
    EXPECT_TRUE(write_fresh_weights(path, *build_plan(spec), 5, type, pool_).ok());
    return *open_model_source(spec, path);
  }
  static Weights load(const ModelSource& source, DType type) {
    Result<Weights> weights = load_weights(source.plan, source.scheme, source.files, type);
    EXPECT_TRUE(weights.ok()) << weights.error().message;
    return std::move(weights).value();
  }

  mutable ThreadPool pool_{3};
  std::string folder_ =
      (fs::temp_directory_path() / ("fathom-quantised-" + std::to_string(::getpid()))).string();
};

bool same_array(const Weights::Array& a, const Weights::Array& b, const Param& param) {
  const int64_t columns = param.shape.back(), rows = elements_of(param) / columns;
  const auto bytes = static_cast<size_t>(rows * row_bytes(a.type, columns));
  if (a.type != b.type || a.group != b.group || std::memcmp(a.data, b.data, bytes) != 0) return false;
  if (a.type == DType::kI4) {
    return std::memcmp(a.groups, b.groups,
                       static_cast<size_t>(2 * rows * int4::groups_of(columns, a.group))) == 0;
  }
  return a.type != DType::kI8 ||
         std::memcmp(a.scale, b.scale, static_cast<size_t>(param.shape.front()) * sizeof(float)) == 0;
}

// Quantised on disk or while it is read: the same numbers. In all layouts of names, in one file and in many.
TEST_F(QuantisedCheckpoint, IsWhatReadingAsInt8Gives) {
  for (const char* architecture : {"llama", "sambay", "phi4flash", "sgdny", "sambay2"}) {
    const ModelSpec spec =
        std::string(architecture) == "llama" ? tiny_mor(Sharing::kMiddleCycle, 3) : hybrid(architecture, 8);
    for (const uint64_t shard : {kMaxShardBytes, uint64_t{30'000}}) {
      const std::string name = architecture + std::to_string(shard);
      SCOPED_TRACE(name);
      const ModelSource source = make(spec, name, DType::kBF16);
      const std::string path = folder_ + "/" + name + "-int8";
      fs::create_directories(path);
      const auto report = write_quantised_weights(path, source, DType::kI8, pool_, {}, shard);
      ASSERT_TRUE(report.ok()) << report.error().message;
      const ModelSource made = *open_model_source(spec, path);
      EXPECT_EQ(stored_matrix_types(made), DType::kI8);
      const Weights expected = load(source, DType::kI8), read = load(made, DType::kI8);
      for (size_t p = 0; p < source.plan.params.size(); ++p) {
        const auto param = static_cast<int32_t>(p);
        EXPECT_EQ(read.at(param).type, type_of(source.plan, param, DType::kI8));
        EXPECT_TRUE(same_array(read.at(param), expected.at(param), source.plan.params[p]))
            << source.plan.params[p].name;
      }
      int64_t bytes = 0;
      for (const QuantisedTensor& tensor : *report) bytes += tensor.bytes_to;
      int64_t stored = 0;
      for (const StoredTensor& tensor : made.files->tensors())
        stored += static_cast<int64_t>(tensor.info->bytes());
      EXPECT_EQ(bytes, stored);
    }
  }
}

// The same of int4, whose matrices and groups are used where they lie in the file: what is owned are the
// scales of the head, and what is put together of several tensors.
TEST_F(QuantisedCheckpoint, IsWhatReadingAsInt4GivesAndIsReadInPlace) {
  for (const char* architecture : {"llama", "sambay", "sgdny"}) {
    const ModelSpec spec =
        std::string(architecture) == "llama" ? tiny_mor(Sharing::kMiddleCycle, 3) : hybrid(architecture, 8);
    for (const int64_t group : int4::kGroups) {
      const MatrixTypes types(DType::kI4, group);
      const std::string name = architecture + std::to_string(group), path = folder_ + "/" + name + "-int4";
      SCOPED_TRACE(name);
      const ModelSource source = make(spec, name, DType::kBF16);
      fs::create_directories(path);
      const auto report = write_quantised_weights(path, source, types, pool_);
      ASSERT_TRUE(report.ok()) << report.error().message;
      const ModelSource made = *open_model_source(spec, path);
      const MatrixTypes stored = stored_matrix_types(made);
      EXPECT_EQ(stored.type, DType::kI4);
      Result<Weights> converted = load_weights(source.plan, source.scheme, source.files, types);
      Result<Weights> read = load_weights(made.plan, made.scheme, made.files, stored);
      ASSERT_TRUE(converted.ok() && read.ok());
      int64_t int4_matrices = 0, owned_by_others = 0;
      for (size_t p = 0; p < source.plan.params.size(); ++p) {
        const auto param = static_cast<int32_t>(p);
        const Weights::Array& array = read->at(param);
        EXPECT_EQ(array.type, type_of(source.plan, param, types)) << source.plan.params[p].name;
        if (array.type != DType::kI4) owned_by_others += bytes_of(source.plan, param, stored);
        int4_matrices += array.type == DType::kI4;
        // Of few columns groups of different sizes are the same ones.
        EXPECT_LE(array.group, group);
        if (array.group == group) {
          EXPECT_TRUE(same_array(array, converted->at(param), source.plan.params[p]))
              << source.plan.params[p].name;
        }
      }
      EXPECT_GT(int4_matrices, 3);
      if (std::string(architecture) == "llama") {
        EXPECT_LE(read->bytes_owned(), owned_by_others);
      }
      int64_t bytes = 0, held = 0;
      for (const QuantisedTensor& tensor : *report) bytes += tensor.bytes_to;
      for (const StoredTensor& tensor : made.files->tensors())
        held += static_cast<int64_t>(tensor.info->bytes());
      EXPECT_EQ(bytes, held);
    }
  }
}

// Types may differ from matrix to matrix: each is read as it is stored.
TEST_F(QuantisedCheckpoint, MatricesOfDifferentTypesAreReadAsTheyAreStored) {
  const ModelSource source = make(tiny(), "plain", DType::kF32);
  MatrixTypes types(DType::kI4, 32);
  int32_t param = 0;
  while (!may_be_int4(source.plan, param)) ++param;
  types.own[param] = {DType::kI8};
  fs::create_directories(folder_ + "/mixed");
  ASSERT_TRUE(write_quantised_weights(folder_ + "/mixed", source, types, pool_).ok());
  const ModelSource made = *open_model_source(tiny(), folder_ + "/mixed");
  const MatrixTypes stored = stored_matrix_types(made);
  const Result<Weights> weights = load_weights(made.plan, made.scheme, made.files, stored);
  ASSERT_TRUE(weights.ok());
  for (size_t p = 0; p < source.plan.params.size(); ++p) {
    const auto at = static_cast<int32_t>(p);
    EXPECT_EQ(weights->at(at).type, type_of(source.plan, at, types)) << source.plan.params[p].name;
  }
  EXPECT_EQ(count_weight_bytes(made.plan, stored), count_weight_bytes(made.plan, types));
}

// Fragile tensors keep their type and bytes; errors are those of the numbers that are read back.
TEST_F(QuantisedCheckpoint, ReportsWhatTheNumbersReadBackShow) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    const ModelSource source = make(hybrid("sgdny", 8), std::string(name_of(type)), type);
    const std::string path = folder_ + "/int8-" + std::string(name_of(type));
    fs::create_directories(path);
    const auto report = write_quantised_weights(path, source, DType::kI8, pool_);
    ASSERT_TRUE(report.ok()) << report.error().message;
    const ModelSource made = *open_model_source(hybrid("sgdny", 8), path);
    int quantised = 0;
    for (const QuantisedTensor& tensor : *report) {
      SCOPED_TRACE(tensor.name);
      const StoredTensor before = *source.files->require(tensor.name),
                         after = *made.files->require(tensor.name);
      EXPECT_EQ(tensor.from, before.info->dtype);
      EXPECT_EQ(tensor.to, after.info->dtype);
      EXPECT_EQ(tensor.shape, before.info->shape);
      if (tensor.to != DType::kI8) {
        EXPECT_TRUE(same_values(before, after));
        EXPECT_EQ(tensor.relative_error, 0);
        continue;
      }
      ++quantised;
      const std::vector<float> was = *source.files->read_as_f32(tensor.name);
      const std::vector<float> scale = *made.files->read_as_f32(scale_name(tensor.name));
      const auto* q = reinterpret_cast<const int8_t*>(after.bytes().data());
      const size_t columns = was.size() / scale.size();
      double errors = 0, squares = 0;
      for (size_t i = 0; i < was.size(); ++i) {
        errors += std::pow(was[i] - scale[i / columns] * static_cast<float>(q[i]), 2);
        squares += std::pow(was[i], 2);
      }
      EXPECT_NEAR(tensor.relative_error, std::sqrt(errors / squares), 1e-6);
      EXPECT_GT(tensor.relative_error, 1e-3);
      EXPECT_LT(tensor.relative_error, 1e-2);
      EXPECT_LE(tensor.largest_error, 0.5001 / 127);
    }
    EXPECT_GT(quantised, 20);
  }
}

TEST_F(QuantisedCheckpoint, IsReadAsFloatToo) {
  const ModelSource source = make(tiny(), "plain", DType::kF32);
  fs::create_directories(folder_ + "/int8");
  ASSERT_TRUE(write_quantised_weights(folder_ + "/int8", source, DType::kI8, pool_).ok());
  const ModelSource made = *open_model_source(tiny(), folder_ + "/int8");
  const Weights int8 = load(made, DType::kI8), wide = load(made, DType::kF32);
  const int32_t head = source.plan.head.first;
  const int64_t columns = source.plan.dims.hidden_size;
  for (int64_t i = 0; i < elements_of(source.plan.params[static_cast<size_t>(head)]); ++i) {
    EXPECT_EQ(static_cast<const float*>(wide.at(head).data)[i],
              int8.at(head).scale[i / columns] *
                  static_cast<float>(static_cast<const int8_t*>(int8.at(head).data)[i]));
  }
}

TEST_F(QuantisedCheckpoint, StopsWhereItIsToldAndRefusesWhatIsInt8Already) {
  const ModelSource source = make(tiny(), "plain", DType::kBF16);
  fs::create_directories(folder_ + "/int8");
  const auto stopped = write_quantised_weights(folder_ + "/int8", source, DType::kI8, pool_,
                                               [](uint64_t) -> Status { return invalid("enough"); });
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().message, "enough");
  EXPECT_FALSE(WeightFiles::are_in(folder_ + "/int8"));
  ASSERT_TRUE(write_quantised_weights(folder_ + "/int8", source, DType::kI8, pool_).ok());
  const auto again =
      write_quantised_weights(folder_, *open_model_source(tiny(), folder_ + "/int8"), DType::kI8, pool_);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().message, folder_ + "/int8: the matrices are int8 already");
}

}  // namespace
}  // namespace fathom
