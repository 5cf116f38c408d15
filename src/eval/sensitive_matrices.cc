#include "eval/sensitive_matrices.h"

#include <algorithm>

#include "eval/divergence.h"
#include "plan/work.h"
#include "weights/checkpoint.h"
#include "weights/stored_matrix.h"

namespace fathom::eval {

namespace {

// The matrices that may be int4, each with the parameters that its tensor holds.
std::vector<Sensitivity> matrices_of(const ModelSource& source, const MatrixTypes& int4) {
  std::vector<Sensitivity> matrices;
  for (const FileTensor& tensor : stored_tensors(source.plan, source.scheme, DType::kI4)) {
    Sensitivity matrix;
    for (const TensorPiece& piece : tensor.pieces) {
      if (type_of(source.plan, piece.param, int4) != DType::kI4) continue;
      matrix.params.push_back(piece.param);
      matrix.extra_bytes +=
          bytes_of(source.plan, piece.param, DType::kI8) - bytes_of(source.plan, piece.param, int4);
    }
    if (!matrix.params.empty()) matrices.push_back(std::move(matrix));
  }
  return matrices;
}

MatrixTypes with(MatrixTypes types, const std::vector<int32_t>& params, MatrixTypes::Own own) {
  for (const int32_t param : params) types.own[param] = own;
  return types;
}

}  // namespace

Result<std::vector<Sensitivity>> sensitivities(
    const ModelSource& source, const MatrixTypes& int4, const PackedRows& rows, int64_t count,
    const PackedSettings& settings, Parallel& parallel,
    const std::function<Status(int64_t done, int64_t of)>& on_matrix) {
  const MatrixTypes stored_types = stored_matrix_types(source);
  FATHOM_ASSIGN(const StoredWeights stored, StoredWeights::open(source.plan, source.scheme, source.files));
  FATHOM_ASSIGN(const Weights reference, stored.load(stored_types, parallel));
  std::vector<Sensitivity> matrices = matrices_of(source, int4);
  for (size_t m = 0; m < matrices.size(); ++m) {
    FATHOM_TRY(on_matrix(static_cast<int64_t>(m), static_cast<int64_t>(matrices.size())));
    const MatrixTypes one = with(stored_types, matrices[m].params, {DType::kI4, int4.group});
    FATHOM_ASSIGN(const Weights weights, stored.load(one, parallel));
    FATHOM_ASSIGN(const Divergence divergence,
                  compare_models({source.plan, reference}, {source.plan, weights}, rows, count, settings,
                                 DType::kF32, parallel, [](const Divergence&) { return Status(); }));
    matrices[m].divergence = divergence.mean();
  }
  return matrices;
}

MatrixTypes with_int8(const ModelPlan& plan, MatrixTypes int4, std::vector<Sensitivity> matrices,
                      int64_t bytes) {
  std::ranges::sort(matrices, std::greater(), [](const Sensitivity& matrix) {
    return matrix.divergence / static_cast<double>(matrix.extra_bytes);
  });
  int64_t left = bytes - count_weight_bytes(plan, int4);
  for (const Sensitivity& matrix : matrices) {
    if (matrix.extra_bytes > left) continue;
    left -= matrix.extra_bytes;
    int4 = with(std::move(int4), matrix.params, {DType::kI8});
  }
  return int4;
}

}  // namespace fathom::eval
