#include "weights/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/half.h"

namespace fathom {

namespace {

int64_t row_elements(const Param& param) { return elements_of(param) / param.shape.front(); }

}  // namespace

Status refuse_unknown_tensors(const std::vector<FileTensor>& table, const WeightFiles& files) {
  std::unordered_set<std::string> known;
  for (const FileTensor& tensor : table) {
    known.insert(tensor.name);
    known.insert(tensor.aliases.begin(), tensor.aliases.end());
  }
  for (const StoredTensor& stored : files.tensors()) {
    if (!known.contains(stored.info->name)) {
      return invalid(files.path() + ": tensor " + stored.info->name +
                     " belongs to no parameter of this model");
    }
  }
  return {};
}

Result<StoredTensor> find_tensor(const FileTensor& wanted, const WeightFiles& files) {
  const StoredTensor* found = nullptr;
  const auto look = [&](const std::string& name) -> Status {
    const StoredTensor* stored = files.find(name);
    if (stored == nullptr) return {};
    if (stored->info->shape != wanted.shape) {
      return invalid(files.path() + ": tensor " + name + " has shape " +
                     shape_to_string(stored->info->shape) + ", expected " + shape_to_string(wanted.shape));
    }
    if (found == nullptr) {
      found = stored;
    } else if (!same_values(*found, *stored)) {
      return invalid(files.path() + ": tensors " + found->info->name + " and " + name +
                     " are one parameter in this model but hold different values");
    }
    return {};
  };
  FATHOM_TRY(look(wanted.name));
  for (const std::string& alias : wanted.aliases) FATHOM_TRY(look(alias));
  if (found == nullptr) {
    return invalid(files.path() + ": tensor " + wanted.name + " is missing, expected with shape " +
                   shape_to_string(wanted.shape));
  }
  return *found;
}

Status visit_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                        const ParameterVisit& visit) {
  const std::vector<FileTensor> table = checkpoint_tensors(plan, scheme);
  FATHOM_TRY(refuse_unknown_tensors(table, files));
  std::vector<float> values;
  for (const FileTensor& tensor : table) {
    FATHOM_ASSIGN(const StoredTensor stored, find_tensor(tensor, files));
    values.resize(stored.info->elements());
    FATHOM_TRY(copy_as_f32(*stored.file, *stored.info, values));
    for (const TensorPiece& piece : tensor.pieces) {
      const int64_t row = row_elements(plan.params[static_cast<size_t>(piece.param)]);
      visit(piece.param, piece.param_row * row,
            std::span(values).subspan(static_cast<size_t>(piece.file_row * row),
                                      static_cast<size_t>(piece.rows * row)));
    }
  }
  return {};
}

Status read_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                       const std::function<std::span<float>(int32_t parameter)>& parameter) {
  return visit_parameters(plan, scheme, files,
                          [&](int32_t param, int64_t first, std::span<const float> values) {
                            std::ranges::copy(values, parameter(param).begin() + first);
                          });
}

Result<Weights> load_weights(const ModelPlan& plan, NamingScheme scheme,
                             const std::shared_ptr<const WeightFiles>& files, DType matrix_type) {
  const std::vector<FileTensor> table = checkpoint_tensors(plan, scheme);
  FATHOM_TRY(refuse_unknown_tensors(table, *files));
  Weights weights(plan.params.size());
  std::vector<void*> memory(plan.params.size(), nullptr);
  std::vector<float> values;
  for (const FileTensor& tensor : table) {
    FATHOM_ASSIGN(const StoredTensor stored, find_tensor(tensor, *files));
    bool converted = false;
    for (const TensorPiece& piece : tensor.pieces) {
      const auto index = static_cast<size_t>(piece.param);
      const Param& param = plan.params[index];
      const DType type = may_be_bf16(param.role) ? matrix_type : DType::kF32;
      const int64_t row = row_elements(param);
      const uint8_t* bytes = stored.bytes().data() + piece.file_row * row * size_of(stored.info->dtype);
      const bool whole = piece.param_row == 0 && piece.rows == param.shape.front();
      const bool aligned = reinterpret_cast<uintptr_t>(bytes) % static_cast<uintptr_t>(size_of(type)) == 0;
      if (whole && aligned && stored.info->dtype == type) {
        weights.borrow(piece.param, type, bytes, files);
        continue;
      }
      if (memory[index] == nullptr) memory[index] = weights.allocate(piece.param, type, elements_of(param));
      auto* to = static_cast<uint8_t*>(memory[index]) + piece.param_row * row * size_of(type);
      const int64_t count = piece.rows * row;
      if (stored.info->dtype == type) {
        std::memcpy(to, bytes, static_cast<size_t>(count * size_of(type)));
        continue;
      }
      if (!converted) {
        values.resize(stored.info->elements());
        FATHOM_TRY(copy_as_f32(*stored.file, *stored.info, values));
        converted = true;
      }
      const float* from = values.data() + piece.file_row * row;
      if (type == DType::kF32) {
        std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
      } else {
        std::transform(from, from + count, reinterpret_cast<BFloat16*>(to),
                       [](float value) { return to_bfloat16(value); });
      }
    }
  }
  return weights;
}

std::vector<TensorView> checkpoint_views(
    const ModelPlan& plan, NamingScheme scheme, DType type,
    const std::function<std::span<const float>(int32_t parameter)>& parameter,
    std::vector<std::vector<uint8_t>>& storage) {
  std::vector<TensorView> views;
  for (const FileTensor& tensor : checkpoint_tensors(plan, scheme)) {
    int64_t rows = tensor.shape.front(), elements = 1;
    for (int64_t extent : tensor.shape) elements *= extent;
    const int64_t row = elements / rows;
    const ParamRole role = plan.params[static_cast<size_t>(tensor.pieces.front().param)].role;
    const DType stored_type = may_be_bf16(role) ? type : DType::kF32;
    storage.emplace_back(static_cast<size_t>(elements * size_of(stored_type)));
    uint8_t* bytes = storage.back().data();
    for (const TensorPiece& piece : tensor.pieces) {
      const float* from = parameter(piece.param).data() + piece.param_row * row;
      uint8_t* to = bytes + piece.file_row * row * size_of(stored_type);
      if (stored_type == DType::kF32) {
        std::memcpy(to, from, static_cast<size_t>(piece.rows * row) * sizeof(float));
      } else {
        auto* out = reinterpret_cast<BFloat16*>(to);
        for (int64_t i = 0; i < piece.rows * row; ++i) out[i] = to_bfloat16(from[i]);
      }
    }
    views.push_back({{tensor.name, stored_type, tensor.shape}, storage.back()});
  }
  return views;
}

}  // namespace fathom
