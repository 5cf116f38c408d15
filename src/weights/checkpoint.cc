#include "weights/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "plan/matrix_types.h"
#include "weights/int8_rows.h"
#include "weights/stored_matrix.h"

namespace fathom {

namespace {

int64_t row_elements(const Param& param) { return elements_of(param) / param.shape.front(); }

}  // namespace

Status visit_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                        const ParameterVisit& visit) {
  const std::vector<FileTensor> table = stored_tensors(plan, scheme, files);
  FATHOM_TRY(refuse_unknown_tensors(table, files));
  std::vector<float> values;
  for (const FileTensor& tensor : table) {
    FATHOM_ASSIGN(const StoredMatrix matrix, find_tensor(plan, tensor, files));
    values.resize(matrix.stored.info->elements());
    FATHOM_TRY(matrix.read_rows(0, matrix.rows(), values));
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

namespace {

// One parameter after the other, of pieces of tensors.
class Loader {
 public:
  Loader(const ModelPlan& plan, std::shared_ptr<const WeightFiles> files, DType matrix_type)
      : plan_(plan),
        files_(std::move(files)),
        matrix_type_(matrix_type),
        weights_(plan.params.size()),
        places_(plan.params.size()) {}

  Status add(const FileTensor& tensor) {
    FATHOM_ASSIGN(const StoredMatrix matrix, find_tensor(plan_, tensor, *files_));
    for (const TensorPiece& piece : tensor.pieces) {
      if (borrow(matrix, piece)) continue;
      FATHOM_TRY(convert(matrix, piece));
    }
    return {};
  }
  Weights take() { return std::move(weights_); }

 private:
  const uint8_t* bytes_of(const StoredMatrix& matrix, const TensorPiece& piece) const {
    return matrix.stored.bytes().data() + piece.file_row * matrix.row_elements() * size_of(matrix.dtype());
  }

  bool borrow(const StoredMatrix& matrix, const TensorPiece& piece) {
    const Param& param = plan_.params[static_cast<size_t>(piece.param)];
    const DType type = type_of(plan_, piece.param, matrix_type_);
    const uint8_t* bytes = bytes_of(matrix, piece);
    const bool whole = piece.param_row == 0 && piece.rows == param.shape.front();
    const bool aligned = reinterpret_cast<uintptr_t>(bytes) % static_cast<uintptr_t>(size_of(type)) == 0;
    if (!whole || !aligned || matrix.dtype() != type) return false;
    weights_.borrow(piece.param, type, bytes, files_);
    if (type == DType::kI8) copy_scales(matrix, piece);
    return true;
  }

  Status convert(const StoredMatrix& matrix, const TensorPiece& piece) {
    const Param& param = plan_.params[static_cast<size_t>(piece.param)];
    const DType type = type_of(plan_, piece.param, matrix_type_);
    const int64_t row = row_elements(param);
    uint8_t*& memory = places_[static_cast<size_t>(piece.param)].values;
    if (memory == nullptr)
      memory = static_cast<uint8_t*>(weights_.allocate(piece.param, type, elements_of(param)));
    uint8_t* const to = memory + piece.param_row * row * size_of(type);
    if (matrix.dtype() == type) {
      std::memcpy(to, bytes_of(matrix, piece), static_cast<size_t>(piece.rows * row * size_of(type)));
      if (type == DType::kI8) copy_scales(matrix, piece);
      return {};
    }
    values_.resize(static_cast<size_t>(piece.rows * row));
    FATHOM_TRY(matrix.read_rows(piece.file_row, piece.rows, values_));
    const int64_t bad = store_rows(values_, row, type, to, type == DType::kI8 ? scales_of(piece) : nullptr);
    if (bad < 0) return {};
    return invalid(files_->path() + ": tensor " + matrix.stored.info->name + " holds a value in row " +
                   std::to_string(piece.file_row + bad) +
                   " that is not finite, expected finite ones for int8");
  }

  // Where the scales of the piece's rows belong.
  float* scales_of(const TensorPiece& piece) {
    float*& scales = places_[static_cast<size_t>(piece.param)].scales;
    if (scales == nullptr)
      scales =
          weights_.allocate_scale(piece.param, plan_.params[static_cast<size_t>(piece.param)].shape.front());
    return scales + piece.param_row;
  }
  void copy_scales(const StoredMatrix& matrix, const TensorPiece& piece) {
    std::copy_n(matrix.scales.begin() + piece.file_row, piece.rows, scales_of(piece));
  }

  const ModelPlan& plan_;
  const std::shared_ptr<const WeightFiles> files_;
  // Memory of a parameter that is not borrowed, and of its scales.
  struct Place {
    uint8_t* values = nullptr;
    float* scales = nullptr;
  };
  const DType matrix_type_;
  Weights weights_;
  std::vector<Place> places_;
  std::vector<float> values_;
};

}  // namespace

Result<Weights> load_weights(const ModelPlan& plan, NamingScheme scheme,
                             const std::shared_ptr<const WeightFiles>& files, DType matrix_type) {
  const std::vector<FileTensor> table = stored_tensors(plan, scheme, *files);
  FATHOM_TRY(refuse_unknown_tensors(table, *files));
  Loader loader(plan, files, matrix_type);
  for (const FileTensor& tensor : table) FATHOM_TRY(loader.add(tensor));
  return loader.take();
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
