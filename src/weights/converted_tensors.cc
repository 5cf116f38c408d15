#include "weights/converted_tensors.h"

#include <algorithm>
#include <unordered_map>

#include "base/check.h"
#include "base/half.h"
#include "plan/matrix_types.h"
#include "weights/stored_matrix.h"

namespace fathom {

namespace {

// The bytes of a stored tensor as `type`.
Status convert(const StoredMatrix& matrix, DType type, std::vector<uint8_t>& out) {
  std::vector<float> values(matrix.stored.info->elements());
  FATHOM_TRY(matrix.read_rows(0, matrix.rows(), values));
  out.resize(values.size() * static_cast<size_t>(size_of(type)));
  if (type == DType::kF32) {
    std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), out.size(), out.data());
  } else {
    std::ranges::transform(values, reinterpret_cast<BFloat16*>(out.data()),
                           [](float value) { return to_bfloat16(value); });
  }
  return {};
}

}  // namespace

Result<std::vector<TensorView>> converted_tensors(const ModelSource& source, const ModelPlan& target,
                                                  DType matrix_type,
                                                  std::vector<std::vector<uint8_t>>& storage) {
  const std::vector<FileTensor> table = checkpoint_tensors(source.plan, source.scheme);
  FATHOM_TRY(refuse_unknown_tensors(table, *source.files));
  std::unordered_map<std::string, StoredMatrix> by_name;
  for (const FileTensor& tensor : table) {
    FATHOM_ASSIGN(const StoredMatrix matrix, find_tensor(source.plan, tensor, *source.files));
    by_name.emplace(tensor.name, matrix);
    for (const std::string& alias : tensor.aliases) by_name.emplace(alias, matrix);
  }
  std::vector<TensorView> views;
  for (const FileTensor& tensor : checkpoint_tensors(target, naming_of(target))) {
    const auto found = by_name.find(tensor.name);
    FATHOM_CHECK(found != by_name.end() && found->second.stored.info->shape == tensor.shape,
                 "the source has no tensor " + tensor.name);
    const StoredMatrix& matrix = found->second;
    const DType type = type_of(target, tensor.pieces.front().param, matrix_type);
    TensorView view = {{tensor.name, type, tensor.shape}, matrix.stored.bytes()};
    if (matrix.dtype() != type) {
      FATHOM_TRY(convert(matrix, type, storage.emplace_back()));
      view.bytes = storage.back();
    }
    views.push_back(std::move(view));
  }
  return views;
}

}  // namespace fathom
