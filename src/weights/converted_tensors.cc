#include "weights/converted_tensors.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "base/check.h"
#include "plan/matrix_types.h"
#include "weights/int8_rows.h"
#include "weights/stored_matrix.h"

namespace fathom {

namespace {

// A stored tensor and what it becomes.
struct Conversion {
  StoredMatrix matrix;
  DType type = DType::kF32;
};

Status write(const Conversion& tensor, const AppendBytes& append) {
  const StoredMatrix& matrix = tensor.matrix;
  if (matrix.dtype() == tensor.type) return append(matrix.stored.bytes());
  const int64_t row = matrix.row_elements(), most = std::max<int64_t>(1, kValuesAtATime / row);
  std::vector<float> values;
  std::vector<uint8_t> bytes;
  for (int64_t at = 0; at < matrix.rows(); at += most) {
    const int64_t count = std::min(most, matrix.rows() - at);
    values.resize(static_cast<size_t>(count * row));
    bytes.resize(static_cast<size_t>(count * row * size_of(tensor.type)));
    FATHOM_TRY(matrix.read_rows(at, count, values));
    store_rows(values, row, tensor.type, bytes.data(), nullptr);
    FATHOM_TRY(append(bytes));
  }
  return {};
}

}  // namespace

Result<StreamedTensors> converted_tensors(const ModelSource& source, const ModelPlan& target,
                                          DType matrix_type) {
  FATHOM_CHECK(matrix_type == DType::kF32 || matrix_type == DType::kBF16, "matrices are f32 or bf16");
  const std::vector<FileTensor> table = checkpoint_tensors(source.plan, source.scheme);
  FATHOM_TRY(refuse_unknown_tensors(table, *source.files));
  std::unordered_map<std::string, StoredMatrix> by_name;
  for (const FileTensor& tensor : table) {
    FATHOM_ASSIGN(const StoredMatrix matrix, find_tensor(source.plan, tensor, *source.files));
    by_name.emplace(tensor.name, matrix);
    for (const std::string& alias : tensor.aliases) by_name.emplace(alias, matrix);
  }
  StreamedTensors stream;
  auto conversions = std::make_shared<std::unordered_map<std::string, Conversion>>();
  for (const FileTensor& tensor : checkpoint_tensors(target, naming_of(target))) {
    const auto found = by_name.find(tensor.name);
    FATHOM_CHECK(found != by_name.end() && found->second.stored.info->shape == tensor.shape,
                 "the source has no tensor " + tensor.name);
    const DType type = type_of(target, tensor.pieces.front().param, matrix_type);
    stream.specs.push_back({tensor.name, type, tensor.shape});
    conversions->emplace(tensor.name, Conversion{found->second, type});
  }
  stream.data = [conversions](const std::string& name, const AppendBytes& append) {
    return write(conversions->at(name), append);
  };
  return stream;
}

}  // namespace fathom
