// Checkpoints whose tensors are not those of the model: each change of a good file, and the sentence that
// names the tensor.
#include "weights/checkpoint.h"

#include <cmath>
#include <cstring>
#include <map>

#include "base/file.h"
#include "base/random.h"
#include "faults/faults.h"
#include "faults/temporary_folder.h"
#include "plan/naming.h"
#include "plan/testing.h"
#include "weights/model_source.h"
#include "weights/quantised_checkpoint.h"

namespace fathom::faults {
namespace {

struct Stored {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Stored>;

ModelSpec model() { return testing_plan::tiny_mor(Sharing::kMiddleCycle, 2); }

// Every name, tied ones as copies.
Tensors good_tensors() {
  const ModelPlan plan = *build_plan(model());
  Tensors tensors;
  uint64_t stream = 0;
  for (const FileTensor& tensor : checkpoint_tensors(plan, naming_of(plan))) {
    int64_t elements = 1;
    for (const int64_t extent : tensor.shape) elements *= extent;
    Stored stored = {tensor.shape, std::vector<float>(static_cast<size_t>(elements))};
    for (size_t i = 0; i < stored.values.size(); ++i) stored.values[i] = normal(5, stream, i);
    ++stream;
    for (const std::string& alias : tensor.aliases) tensors[alias] = stored;
    tensors[tensor.name] = stored;
  }
  return tensors;
}

class Checkpoints {
 public:
  std::string file_of(const Tensors& tensors) const {
    std::vector<TensorView> views;
    for (const auto& [name, stored] : tensors)
      views.push_back(view_of(name, DType::kF32, stored.shape, stored.values));
    const std::string path = folder_.path() + "/made.safetensors";
    EXPECT_TRUE(write_safetensors(path, views).ok());
    return *read_file(path);
  }
  // The sentence without the path.
  std::string read(const std::string& file, DType matrix_type = DType::kF32) const {
    const std::string path = folder_.write("model.safetensors", file);
    const auto sentence = [&]() -> Status {
      FATHOM_ASSIGN(const ModelSource source, open_model_source(model(), path));
      FATHOM_TRY(load_weights(source.plan, source.scheme, source.files, matrix_type));
      return {};
    }();
    if (sentence.ok()) return "accepted";
    EXPECT_EQ(sentence.error().message.find(path + ": "), 0U);
    return sentence.error().message.substr(path.size() + 2);
  }

 private:
  TemporaryFolder folder_;
};

TEST(CheckpointFaults, EachIsRefusedWithItsSentence) {
  const Checkpoints checkpoints;
  const Tensors good = good_tensors();
  const auto changed = [&](const std::function<void(Tensors&)>& change) {
    Tensors tensors = good;
    change(tensors);
    return checkpoints.file_of(tensors);
  };
  const std::string first = "model.layers.1.block.0.", second = "model.layers.2.block.0.";
  const auto differs = [&](const std::string& name) {
    return Fault{"another value of " + name,
                 changed([&](Tensors& t) { t.at(second + name).values.back() += 1; }),
                 "tensors " + first + name + " and " + second + name +
                     " are one parameter in this model but hold different values"};
  };
  const auto lost = [&](const std::string& name, const std::string& shape) {
    return Fault{"no " + name, changed([&](Tensors& t) { t.erase(name); }),
                 "tensor " + name + " is missing, expected with shape " + shape};
  };
  const auto reshaped = [&](const std::string& name, const std::vector<int64_t>& shape,
                            const std::string& expected) {
    return Fault{
        name + " in another shape", changed([&](Tensors& t) {
          t.at(name).shape = shape;
          t.at(name).values.resize(static_cast<size_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1)));
        }),
        "tensor " + name + " has shape " + shape_to_string(shape) + ", expected " + expected};
  };
  const auto extra = [&](const std::string& name) {
    return Fault{"a tensor " + name, changed([&](Tensors& t) {
                   t[name] = {{2}, {1, 2}};
                 }),
                 "tensor " + name + " belongs to no parameter of this model"};
  };
  const std::vector<Fault> faults = {
      differs("mlp.gate_proj.weight"),
      differs("mlp.up_proj.weight"),
      differs("mlp.down_proj.weight"),
      differs("input_layernorm.weight"),
      differs("post_attention_layernorm.weight"),
      lost("model.norm.weight", "[32]"),
      lost("model.layers.0.mlp.up_proj.weight", "[64, 32]"),
      lost("model.layers.2.mor_router.router.weight", "[1, 32]"),
      {"no copy of a shared tensor", changed([&](Tensors& t) {
         t.erase(first + "mlp.up_proj.weight");
         t.erase(second + "mlp.up_proj.weight");
       }),
       "tensor " + first + "mlp.up_proj.weight is missing, expected with shape [64, 32]"},
      {"neither embedding nor head", changed([&](Tensors& t) {
         t.erase("model.embed_tokens.weight");
         t.erase("lm_head.weight");
       }),
       "tensor model.embed_tokens.weight is missing, expected with shape [97, 32]"},
      reshaped("model.norm.weight", {31}, "[32]"),
      reshaped("model.embed_tokens.weight", {96, 32}, "[97, 32]"),
      reshaped("model.layers.1.mor_router.router.weight", {32}, "[1, 32]"),
      reshaped(first + "mlp.up_proj.weight", {32, 64}, "[64, 32]"),
      // The bytes are those of the other copy.
      reshaped(second + "mlp.up_proj.weight", {32, 64}, "[64, 32]"),
      extra("model.layers.1.block.0.mlp.bias"),
      extra("model.layers.5.block.0.mlp.up_proj.weight"),
      extra("optimizer.step"),
  };
  const auto reader = [&](const std::string& file) { return checkpoints.read(file); };
  expect_refusals(checkpoints.file_of(good), faults, reader, 18);
}

// A good model, quantised, and changes of its file.
struct Tensor {
  DType type;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
};
using QuantisedTensors = std::map<std::string, Tensor>;

class QuantisedFile {
 public:
  QuantisedFile(const Checkpoints& checkpoints, const MatrixTypes& matrices) {
    ThreadPool pool(2);
    const std::string source = folder_.write("source.safetensors", checkpoints.file_of(good_tensors()));
    const ModelSource model_source = *open_model_source(model(), source);
    EXPECT_TRUE(write_quantised_weights(folder_.path(), model_source, matrices, pool).ok());
    const auto made = SafetensorsFile::open(folder_.path() + "/model.safetensors");
    for (const TensorInfo& info : made->tensors()) {
      const auto bytes = made->bytes(info);
      good_[info.name] = {info.dtype, info.shape, {bytes.begin(), bytes.end()}};
    }
  }
  std::string changed(const std::function<void(QuantisedTensors&)>& change) const {
    QuantisedTensors tensors = good_;
    change(tensors);
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors)
      views.push_back(view_of(name, tensor.type, tensor.shape, tensor.bytes));
    const std::string path = folder_.path() + "/changed.safetensors";
    EXPECT_TRUE(write_safetensors(path, views).ok());
    return *read_file(path);
  }

 private:
  TemporaryFolder folder_;
  QuantisedTensors good_;
};

// What makes int8 matrices of a good file is in the names, types and values of two tensors each.
TEST(Int8CheckpointFaults, EachIsRefusedWithItsSentence) {
  using Int8Tensors = QuantisedTensors;
  const Checkpoints checkpoints;
  const QuantisedFile file(checkpoints, DType::kI8);
  const auto changed = [&](const std::function<void(Int8Tensors&)>& change) { return file.changed(change); };
  const auto set_scale = [](Tensor& scales, size_t row, float value) {
    std::memcpy(scales.bytes.data() + 4 * row, &value, sizeof value);
  };
  const std::string matrix = "model.layers.0.mlp.up_proj.weight", scale = matrix + "_scale";
  const std::string norm = "model.norm.weight", router = "model.layers.1.mor_router.router.weight";
  const std::vector<Fault> faults = {
      {"no scale", changed([&](Int8Tensors& t) { t.erase(scale); }),
       "tensor " + matrix + " is I8, and " + scale + " is missing, expected with shape [64]"},
      {"a scale too few", changed([&](Int8Tensors& t) {
         t[scale].shape = {63};
         t[scale].bytes.resize(63 * 4);
       }),
       "tensor " + scale + " has shape [63], expected [64]"},
      {"scales as a column", changed([&](Int8Tensors& t) {
         t[scale].shape = {64, 1};
       }),
       "tensor " + scale + " has shape [64, 1], expected [64]"},
      {"scales of 16 bits", changed([&](Int8Tensors& t) {
         t[scale].type = DType::kBF16;
         t[scale].bytes.resize(64 * 2);
       }),
       "tensor " + scale + " has dtype BF16, expected F32"},
      {"a scale that is no number", changed([&](Int8Tensors& t) { set_scale(t[scale], 3, std::nanf("")); }),
       "tensor " + scale + " holds nan in row 3, expected a finite number of at least 0"},
      {"an infinite scale", changed([&](Int8Tensors& t) { set_scale(t[scale], 63, INFINITY); }),
       "tensor " + scale + " holds inf in row 63, expected a finite number of at least 0"},
      {"a scale below zero", changed([&](Int8Tensors& t) { set_scale(t[scale], 0, -1); }),
       "tensor " + scale + " holds -1.000000 in row 0, expected a finite number of at least 0"},
      {"the matrix in another shape", changed([&](Int8Tensors& t) {
         t[matrix].shape = {32, 64};
       }),
       "tensor " + matrix + " has shape [32, 64], expected [64, 32]"},
      {"numbers without a sign", changed([&](Int8Tensors& t) { t[matrix].type = DType::kU8; }),
       "tensor " + scale + " belongs to no parameter of this model"},
      {"a norm as int8", changed([&](Int8Tensors& t) {
         t[norm].type = DType::kI8;
         t[norm].bytes.resize(32);
       }),
       "tensor " + norm +
           " has dtype I8, expected F32, BF16 or F16: it is none of the matrices that may be int8"},
      {"a router as int8, with its scale", changed([&](Int8Tensors& t) {
         t[router] = {DType::kI8, {1, 32}, std::vector<uint8_t>(32, 1)};
         t[router + "_scale"] = {DType::kF32, {1}, {0, 0, 128, 63}};
       }),
       "tensor " + router +
           " has dtype I8, expected F32, BF16 or F16: it is none of the matrices that may be int8"},
      {"a scale of a tensor that is not int8", changed([&](Int8Tensors& t) {
         t[norm + "_scale"] = {DType::kF32, {1}, {0, 0, 128, 63}};
       }),
       "tensor " + norm + "_scale belongs to no parameter of this model"},
      {"a matrix less", changed([&](Int8Tensors& t) {
         t.erase(matrix);
         t.erase(scale);
       }),
       "tensor " + matrix + " is missing, expected with shape [64, 32]"},
  };
  const auto reader = [&](const std::string& bytes) { return checkpoints.read(bytes, DType::kI8); };
  expect_refusals(changed([](Int8Tensors&) {}), faults, reader, 13);
}

// Of int4 matrices all values are good: a fault is one of a name, a type or a shape.
TEST(Int4CheckpointFaults, EachIsRefusedWithItsSentence) {
  const Checkpoints checkpoints;
  const QuantisedFile file(checkpoints, MatrixTypes(DType::kI4, 32));
  const auto changed = [&](const std::function<void(QuantisedTensors&)>& change) {
    return file.changed(change);
  };
  const std::string matrix = "model.layers.0.mlp.up_proj.weight", groups = matrix + "_groups";
  const std::string norm = "model.norm.weight", head = "model.embed_tokens.weight";
  const std::string none = ", expected F32, BF16 or F16: it is none of the matrices that may be int4";
  const std::vector<Fault> faults = {
      {"no groups", changed([&](QuantisedTensors& t) { t.erase(groups); }),
       "tensor " + matrix + " is U8, and " + groups +
           " is missing, expected with the scales and zeros of its groups"},
      {"groups of a row too few", changed([&](QuantisedTensors& t) {
         t[groups].shape = {63, 1};
         t[groups].bytes.resize(63 * 2);
       }),
       "tensor " + groups +
           " has shape [63, 1], expected 64 rows of 1, 1, 1 words, for groups of 32, 64 or 128 of 32 values"},
      {"more groups than there are", changed([&](QuantisedTensors& t) {
         t[groups].shape = {64, 2};
         t[groups].bytes.resize(64 * 4);
       }),
       "tensor " + groups +
           " has shape [64, 2], expected 64 rows of 1, 1, 1 words, for groups of 32, 64 or 128 of 32 values"},
      {"groups as a vector", changed([&](QuantisedTensors& t) { t[groups].shape = {64}; }),
       "tensor " + groups +
           " has shape [64], expected 64 rows of 1, 1, 1 words, for groups of 32, 64 or 128 of 32 values"},
      {"groups with a sign", changed([&](QuantisedTensors& t) { t[groups].type = DType::kF16; }),
       "tensor " + groups + " has dtype F16, expected U16"},
      {"a byte for each number", changed([&](QuantisedTensors& t) {
         t[matrix].shape = {64, 32};
         t[matrix].bytes.resize(64 * 32);
       }),
       "tensor " + matrix + " is U8 with shape [64, 32], expected [64, 16] for int4 rows of 32 values"},
      {"numbers with a sign", changed([&](QuantisedTensors& t) { t[matrix].type = DType::kI8; }),
       "tensor " + groups + " belongs to no parameter of this model"},
      {"a norm as int4", changed([&](QuantisedTensors& t) {
         t[norm].type = DType::kU8;
         t[norm].bytes.resize(32);
       }),
       "tensor " + norm + " has dtype U8" + none},
      {"groups of a tensor that is not int4", changed([&](QuantisedTensors& t) {
         t[norm + "_groups"] = {DType::kU16, {1}, {0, 0}};
       }),
       "tensor " + norm + "_groups belongs to no parameter of this model"},
      {"the head as int4", changed([&](QuantisedTensors& t) {
         t.erase(head + "_scale");
         t[head].type = DType::kU8;
         t[head + "_groups"] = {
             DType::kU16, {t[head].shape[0], 1}, std::vector<uint8_t>(2 * t[head].shape[0])};
       }),
       "tensor " + head + " has dtype U8" + none},
  };
  const auto reader = [&](const std::string& bytes) { return checkpoints.read(bytes, DType::kI4); };
  expect_refusals(changed([](QuantisedTensors&) {}), faults, reader, 10);
}

}  // namespace
}  // namespace fathom::faults
