#include "weights/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "plan/matrix_types.h"
#include "weights/int8_rows.h"
#include "weights/stored_matrix.h"
#include "weights/streamed_tensors.h"

namespace fathom {

namespace {

int64_t row_elements(const Param& param) { return elements_of(param) / param.shape.front(); }

// The tensors that the files have of the plan, one after the other.
Status for_each_piece(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                      const std::function<Status(const StoredMatrix&, const TensorPiece&)>& visit) {
  const std::vector<FileTensor> table = stored_tensors(plan, scheme, files);
  FATHOM_TRY(refuse_unknown_tensors(table, files));
  for (const FileTensor& tensor : table) {
    FATHOM_ASSIGN(const StoredMatrix matrix, find_tensor(plan, tensor, files));
    for (const TensorPiece& piece : tensor.pieces) FATHOM_TRY(visit(matrix, piece));
  }
  return {};
}

}  // namespace

Status visit_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                        const ParameterVisit& visit) {
  std::vector<float> values;
  return for_each_piece(
      plan, scheme, files, [&](const StoredMatrix& matrix, const TensorPiece& piece) -> Status {
        const int64_t row = matrix.row_elements(), most = std::max<int64_t>(1, kValuesAtATime / row);
        for (int64_t at = 0; at < piece.rows; at += most) {
          const int64_t count = std::min(most, piece.rows - at);
          values.resize(static_cast<size_t>(count * row));
          FATHOM_TRY(matrix.read_rows(piece.file_row + at, count, values));
          visit(piece.param, (piece.param_row + at) * row, values);
        }
        return {};
      });
}

Status read_parameters(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files,
                       const std::function<std::span<float>(int32_t parameter)>& parameter) {
  return for_each_piece(plan, scheme, files, [&](const StoredMatrix& matrix, const TensorPiece& piece) {
    const int64_t row = matrix.row_elements();
    return matrix.read_rows(
        piece.file_row, piece.rows,
        parameter(piece.param)
            .subspan(static_cast<size_t>(piece.param_row * row), static_cast<size_t>(piece.rows * row)));
  });
}

namespace {

// Values that a worker converts at a time.
constexpr int64_t kConverted = int64_t{1} << 16;

const uint8_t* bytes_of(const StoredMatrix& matrix, const TensorPiece& piece) {
  return matrix.stored.bytes().data() + piece.file_row * matrix.row_elements() * size_of(matrix.dtype());
}

// Makes the weights that are not borrowed, one piece of a tensor after the other.
class Converter {
 public:
  Converter(const ModelPlan& plan, const WeightFiles& files, DType matrix_type, Parallel& parallel,
            Weights& weights)
      : plan_(plan),
        files_(files),
        matrix_type_(matrix_type),
        parallel_(parallel),
        weights_(weights),
        places_(plan.params.size()),
        workers_(static_cast<size_t>(parallel.num_threads())) {}

  Status convert(const StoredMatrix& matrix, const TensorPiece& piece) {
    const Param& param = plan_.params[static_cast<size_t>(piece.param)];
    const DType type = type_of(plan_, piece.param, matrix_type_);
    const int64_t row = row_elements(param);
    uint8_t*& memory = places_[static_cast<size_t>(piece.param)].values;
    if (memory == nullptr)
      memory = static_cast<uint8_t*>(weights_.allocate(piece.param, type, elements_of(param)));
    uint8_t* const to = memory + piece.param_row * row * size_of(type);
    if (matrix.dtype() == type && type == DType::kI8) copy_scales(matrix, piece);
    float* const scales = type == DType::kI8 ? scales_of(piece) : nullptr;
    for (Worker& worker : workers_) {
      worker.status = Status();
      worker.bad = piece.rows;
    }
    const int64_t most = std::max<int64_t>(1, kConverted / row);
    parallel_.run(piece.rows, most, [&](int64_t begin, int64_t end, int number) {
      Worker& worker = workers_[static_cast<size_t>(number)];
      for (int64_t at = begin; at < end && worker.status.ok() && worker.bad == piece.rows; at += most) {
        const int64_t count = std::min(most, end - at);
        uint8_t* const out = to + at * row * size_of(type);
        if (matrix.dtype() == type) {
          std::memcpy(out, bytes_of(matrix, piece) + at * row * size_of(type),
                      static_cast<size_t>(count * row * size_of(type)));
          continue;
        }
        worker.values.resize(static_cast<size_t>(count * row));
        worker.status = matrix.read_rows(piece.file_row + at, count, worker.values);
        if (!worker.status.ok()) continue;
        const int64_t bad =
            store_rows(worker.values, row, type, out, scales != nullptr ? scales + at : nullptr);
        if (bad >= 0) worker.bad = at + bad;
      }
    });
    // Of rows that are bad the first one is named, whoever came upon it.
    int64_t bad = piece.rows;
    for (const Worker& worker : workers_) {
      FATHOM_TRY(worker.status);
      bad = std::min(bad, worker.bad);
    }
    if (bad == piece.rows) return {};
    return invalid(files_.path() + ": tensor " + matrix.stored.info->name + " holds a value in row " +
                   std::to_string(piece.file_row + bad) +
                   " that is not finite, expected finite ones for int8");
  }

  void copy_scales(const StoredMatrix& matrix, const TensorPiece& piece) {
    std::copy_n(matrix.scales.begin() + piece.file_row, piece.rows, scales_of(piece));
  }

 private:
  // Where the scales of the piece's rows belong.
  float* scales_of(const TensorPiece& piece) {
    float*& scales = places_[static_cast<size_t>(piece.param)].scales;
    if (scales == nullptr)
      scales =
          weights_.allocate_scale(piece.param, plan_.params[static_cast<size_t>(piece.param)].shape.front());
    return scales + piece.param_row;
  }

  // Memory of a parameter that is not borrowed, and of its scales.
  struct Place {
    uint8_t* values = nullptr;
    float* scales = nullptr;
  };
  struct Worker {
    std::vector<float> values;
    Status status;
    int64_t bad = 0;  // the first row that int8 cannot hold; that behind the last if there is none
  };
  const ModelPlan& plan_;
  const WeightFiles& files_;
  const DType matrix_type_;
  Parallel& parallel_;
  Weights& weights_;
  std::vector<Place> places_;
  std::vector<Worker> workers_;
};

}  // namespace

Result<StoredWeights> StoredWeights::open(const ModelPlan& plan, NamingScheme scheme,
                                          std::shared_ptr<const WeightFiles> files) {
  StoredWeights weights(plan, std::move(files));
  std::vector<FileTensor> table = stored_tensors(plan, scheme, *weights.files_);
  FATHOM_TRY(refuse_unknown_tensors(table, *weights.files_));
  for (FileTensor& tensor : table) {
    FATHOM_ASSIGN(StoredMatrix matrix, find_tensor(plan, tensor, *weights.files_));
    weights.tensors_.push_back({std::move(matrix), std::move(tensor.pieces)});
  }
  return weights;
}

bool StoredWeights::is_borrowed(const StoredMatrix& matrix, const TensorPiece& piece, DType type) const {
  const Param& param = plan_->params[static_cast<size_t>(piece.param)];
  const bool whole = piece.param_row == 0 && piece.rows == param.shape.front();
  const auto address = reinterpret_cast<uintptr_t>(bytes_of(matrix, piece));
  return whole && matrix.dtype() == type && address % static_cast<uintptr_t>(size_of(type)) == 0;
}

int64_t StoredWeights::loading_bytes(DType matrix_type) const {
  int64_t bytes = 0;
  for (const Found& tensor : tensors_) {
    for (const TensorPiece& piece : tensor.pieces) {
      const DType type = type_of(*plan_, piece.param, matrix_type);
      if (!is_borrowed(tensor.matrix, piece, type))
        bytes += piece.rows * tensor.matrix.row_elements() * size_of(type);
      if (type == DType::kI8) bytes += piece.rows * size_of(DType::kF32);
    }
  }
  return bytes;
}

Result<Weights> StoredWeights::load(DType matrix_type, Parallel& parallel) const {
  Weights weights(plan_->params.size());
  Converter converter(*plan_, *files_, matrix_type, parallel, weights);
  for (const Found& tensor : tensors_) {
    for (const TensorPiece& piece : tensor.pieces) {
      const DType type = type_of(*plan_, piece.param, matrix_type);
      if (!is_borrowed(tensor.matrix, piece, type)) {
        FATHOM_TRY(converter.convert(tensor.matrix, piece));
        continue;
      }
      weights.borrow(piece.param, type, bytes_of(tensor.matrix, piece), files_);
      if (type == DType::kI8) converter.copy_scales(tensor.matrix, piece);
    }
  }
  return weights;
}

Result<Weights> load_weights(const ModelPlan& plan, NamingScheme scheme,
                             const std::shared_ptr<const WeightFiles>& files, DType matrix_type) {
  SerialParallel serial;
  FATHOM_ASSIGN(const StoredWeights stored, StoredWeights::open(plan, scheme, files));
  return stored.load(matrix_type, serial);
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
