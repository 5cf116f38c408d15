#include "weights/fresh_weights.h"

#include <algorithm>
#include <unordered_map>

#include "base/check.h"
#include "base/half.h"
#include "plan/initial_value.h"
#include "plan/naming.h"
#include "weights/streamed_tensors.h"

namespace fathom {

namespace {

DType type_of(const ModelPlan& plan, const FileTensor& tensor, DType matrix_type) {
  const bool matrix = std::ranges::all_of(tensor.pieces, [&](const TensorPiece& piece) {
    return may_be_bf16(plan.params[static_cast<size_t>(piece.param)].role);
  });
  return matrix ? matrix_type : DType::kF32;
}

class Drawer {
 public:
  Drawer(const ModelPlan& plan, uint64_t seed, Parallel& parallel)
      : plan_(plan), seed_(seed), parallel_(parallel) {}

  // Values [first, first + count) of a parameter, as stored.
  std::span<const uint8_t> draw(int32_t param, int64_t first, int64_t count, DType type) {
    const Param& of = plan_.params[static_cast<size_t>(param)];
    bytes_.resize(static_cast<size_t>(count * size_of(type)));
    parallel_.run(count, 4096, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const float value =
            initial_value(of.init, seed_, static_cast<uint64_t>(param), first + i, of.shape.back());
        if (type == DType::kF32) {
          reinterpret_cast<float*>(bytes_.data())[i] = value;
        } else {
          reinterpret_cast<BFloat16*>(bytes_.data())[i] = to_bfloat16(value);
        }
      }
    });
    return bytes_;
  }

 private:
  const ModelPlan& plan_;
  const uint64_t seed_;
  Parallel& parallel_;
  std::vector<uint8_t> bytes_;
};

}  // namespace

Status write_fresh_weights(const std::string& directory, const ModelPlan& plan, uint64_t seed,
                           DType matrix_type, Parallel& parallel,
                           const std::function<Status(uint64_t written)>& written, uint64_t max_shard_bytes) {
  FATHOM_CHECK(matrix_type == DType::kF32 || matrix_type == DType::kBF16, "matrices are f32 or bf16");
  for (const Param& param : plan.params) {
    if (param.init.kind == InitKind::kRowNorms)
      return invalid("parameter " + param.name + " starts from other parameters; training makes it");
  }
  const std::vector<FileTensor> tensors = checkpoint_tensors(plan, naming_of(plan));
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string, const FileTensor*> by_name;
  for (const FileTensor& tensor : tensors) {
    specs.push_back({tensor.name, type_of(plan, tensor, matrix_type), tensor.shape});
    by_name[tensor.name] = &tensor;
  }
  Drawer drawer(plan, seed, parallel);
  uint64_t total = 0;
  const TensorData data = [&](const std::string& name, const AppendBytes& append) -> Status {
    const FileTensor& tensor = *by_name.at(name);
    const DType type = type_of(plan, tensor, matrix_type);
    std::vector<TensorPiece> pieces = tensor.pieces;
    std::ranges::sort(pieces, {}, &TensorPiece::file_row);
    for (const TensorPiece& piece : pieces) {
      const Param& param = plan.params[static_cast<size_t>(piece.param)];
      const int64_t row = elements_of(param) / param.shape.front();
      const int64_t end = (piece.param_row + piece.rows) * row;
      for (int64_t at = piece.param_row * row; at < end; at += kValuesAtATime) {
        const std::span<const uint8_t> bytes =
            drawer.draw(piece.param, at, std::min(kValuesAtATime, end - at), type);
        FATHOM_TRY(append(bytes));
        total += bytes.size();
        if (written) FATHOM_TRY(written(total));
      }
    }
    return {};
  };
  return write_weight_files(directory, specs, data, {{"format", "pt"}}, max_shard_bytes);
}

}  // namespace fathom
