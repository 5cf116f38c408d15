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

// Makes the weights that are not borrowed, one piece of a tensor after the other.
class Converter {
 public:
  Converter(const ModelPlan& plan, const WeightFiles& files, const MatrixTypes& matrices, Parallel& parallel,
            Weights& weights)
      : plan_(plan),
        files_(files),
        matrices_(matrices),
        parallel_(parallel),
        weights_(weights),
        places_(plan.params.size()),
        workers_(static_cast<size_t>(parallel.num_threads())) {}

  Status convert(const StoredMatrix& matrix, const TensorPiece& piece) {
    const Param& param = plan_.params[static_cast<size_t>(piece.param)];
    const DType type = type_of(plan_, piece.param, matrices_);
    const int64_t row = row_elements(param), row_size = row_bytes(type, row);
    const int64_t group = group_of(plan_, piece.param, matrices_), words_of_row = words_of(row, group);
    uint8_t*& memory = places_[static_cast<size_t>(piece.param)].values;
    if (memory == nullptr)
      memory = static_cast<uint8_t*>(weights_.allocate(piece.param, type, param.shape.front(), row));
    uint8_t* const to = memory + piece.param_row * row_size;
    const bool as_it_is = matrix.dtype() == type && matrix.group == group;
    if (as_it_is && type == DType::kI8) copy_scales(matrix, piece);
    float* const scales = type == DType::kI8 ? scales_of(piece) : nullptr;
    uint16_t* const words = group > 0 ? words_of(piece, row, group) : nullptr;
    for (Worker& worker : workers_) {
      worker.status = Status();
      worker.bad = piece.rows;
    }
    const int64_t most = std::max<int64_t>(1, kConverted / row);
    parallel_.run(piece.rows, most, [&](int64_t begin, int64_t end, int number) {
      Worker& worker = workers_[static_cast<size_t>(number)];
      for (int64_t at = begin; at < end && worker.status.ok() && worker.bad == piece.rows; at += most) {
        const int64_t count = std::min(most, end - at);
        uint8_t* const out = to + at * row_size;
        if (as_it_is) {
          std::memcpy(out, matrix.row_at(piece.file_row + at), static_cast<size_t>(count * row_size));
          if (words != nullptr) {
            std::memcpy(words + at * words_of_row, matrix.words_at(piece.file_row + at),
                        static_cast<size_t>(count * words_of_row) * sizeof(uint16_t));
          }
          continue;
        }
        worker.values.resize(static_cast<size_t>(count * row));
        worker.status = matrix.read_rows(piece.file_row + at, count, worker.values);
        if (!worker.status.ok()) continue;
        const int64_t bad =
            store_rows(worker.values, row, type, out, scales != nullptr ? scales + at : nullptr, group,
                       words != nullptr ? words + at * words_of_row : nullptr);
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
    return invalid(files_.path() + ": " + not_held(matrix, piece.file_row + bad, type));
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

  // Where the words of the piece's rows belong.
  uint16_t* words_of(const TensorPiece& piece, int64_t row, int64_t group) {
    uint16_t*& words = places_[static_cast<size_t>(piece.param)].words;
    const int64_t rows = plan_.params[static_cast<size_t>(piece.param)].shape.front();
    if (words == nullptr) words = weights_.allocate_groups(piece.param, rows, row, group);
    return words + piece.param_row * words_of(row, group);
  }
  static int64_t words_of(int64_t row, int64_t group) { return group > 0 ? int4::groups_of(row, group) : 0; }

  // Memory of a parameter that is not borrowed, of its scales and of its groups' words.
  struct Place {
    uint8_t* values = nullptr;
    float* scales = nullptr;
    uint16_t* words = nullptr;
  };
  struct Worker {
    std::vector<float> values;
    Status status;
    int64_t bad = 0;  // the first row that the type cannot hold; that behind the last if there is none
  };
  const ModelPlan& plan_;
  const WeightFiles& files_;
  const MatrixTypes& matrices_;
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

bool StoredWeights::is_borrowed(const StoredMatrix& matrix, const TensorPiece& piece,
                                const MatrixTypes& matrices) const {
  const Param& param = plan_->params[static_cast<size_t>(piece.param)];
  const DType type = type_of(*plan_, piece.param, matrices);
  const bool whole = piece.param_row == 0 && piece.rows == param.shape.front();
  if (!whole || matrix.dtype() != type) return false;
  if (type == DType::kI4) return matrix.group == group_of(*plan_, piece.param, matrices);
  return reinterpret_cast<uintptr_t>(matrix.row_at(piece.file_row)) % static_cast<uintptr_t>(size_of(type)) ==
         0;
}

int64_t StoredWeights::loading_bytes(const MatrixTypes& matrices) const {
  int64_t bytes = 0;
  for (const Found& tensor : tensors_) {
    for (const TensorPiece& piece : tensor.pieces) {
      const DType type = type_of(*plan_, piece.param, matrices);
      const int64_t group = group_of(*plan_, piece.param, matrices), columns = tensor.matrix.row_elements();
      if (!is_borrowed(tensor.matrix, piece, matrices)) {
        bytes += piece.rows * row_bytes(type, columns);
        if (group > 0) bytes += piece.rows * int4::groups_of(columns, group) * size_of(DType::kU16);
      }
      if (type == DType::kI8) bytes += piece.rows * size_of(DType::kF32);
    }
  }
  return bytes;
}

Result<Weights> StoredWeights::load(const MatrixTypes& matrices, Parallel& parallel) const {
  Weights weights(plan_->params.size());
  Converter converter(*plan_, *files_, matrices, parallel, weights);
  for (const Found& tensor : tensors_) {
    for (const TensorPiece& piece : tensor.pieces) {
      const DType type = type_of(*plan_, piece.param, matrices);
      if (!is_borrowed(tensor.matrix, piece, matrices)) {
        FATHOM_TRY(converter.convert(tensor.matrix, piece));
        continue;
      }
      weights.borrow(piece.param, type, tensor.matrix.row_at(piece.file_row), files_);
      if (type == DType::kI4)
        weights.borrow_groups(piece.param, tensor.matrix.words_at(piece.file_row), tensor.matrix.group);
      if (type == DType::kI8) converter.copy_scales(tensor.matrix, piece);
    }
  }
  return weights;
}

Result<Weights> load_weights(const ModelPlan& plan, NamingScheme scheme,
                             const std::shared_ptr<const WeightFiles>& files, const MatrixTypes& matrices) {
  SerialParallel serial;
  FATHOM_ASSIGN(const StoredWeights stored, StoredWeights::open(plan, scheme, files));
  return stored.load(matrices, serial);
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
