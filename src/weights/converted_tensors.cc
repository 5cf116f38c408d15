#include "weights/converted_tensors.h"

#include <algorithm>
#include <unordered_map>

#include "base/half.h"
#include "weights/checkpoint.h"

namespace fathom {

namespace {

// The bytes of a stored tensor as `type`.
Status convert(const StoredTensor& stored, DType type, std::vector<uint8_t>& out) {
  std::vector<float> values(stored.info->elements());
  FATHOM_TRY(copy_as_f32(*stored.file, *stored.info, values));
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
  std::unordered_map<std::string, StoredTensor> by_name;
  for (const FileTensor& tensor : table) {
    FATHOM_ASSIGN(const StoredTensor stored, find_tensor(tensor, *source.files));
    by_name.emplace(tensor.name, stored);
    for (const std::string& alias : tensor.aliases) by_name.emplace(alias, stored);
  }
  std::vector<TensorView> views;
  for (const FileTensor& tensor : checkpoint_tensors(target, naming_of(target))) {
    const auto found = by_name.find(tensor.name);
    FATHOM_CHECK(found != by_name.end() && found->second.info->shape == tensor.shape,
                 "the source has no tensor " + tensor.name);
    const StoredTensor& stored = found->second;
    const ParamRole role = target.params[static_cast<size_t>(tensor.pieces.front().param)].role;
    const DType type = may_be_bf16(role) ? matrix_type : DType::kF32;
    TensorView view = {{tensor.name, type, tensor.shape}, stored.bytes()};
    if (stored.info->dtype != type) {
      FATHOM_TRY(convert(stored, type, storage.emplace_back()));
      view.bytes = storage.back();
    }
    views.push_back(std::move(view));
  }
  return views;
}

}  // namespace fathom
