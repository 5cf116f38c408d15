#include "train/product.h"

#include <ATen/ops/empty.h>

#include "base/check.h"
#include "train/torch_parallel.h"

namespace fathom::train {

namespace {

MatmulOperand operand(const at::Tensor& matrix, bool transposed) {
  FATHOM_CHECK(matrix.dim() == 2 && (matrix.stride(1) == 1 || matrix.size(1) <= 1),
               "an operand has contiguous rows");
  const int64_t rows = matrix.size(0), columns = matrix.size(1);
  const int64_t stride = rows > 1 ? matrix.stride(0) : columns;
  const auto* data = matrix.const_data_ptr<float>();
  return transposed ? MatmulOperand{data, columns, rows, stride, true}
                    : MatmulOperand{data, rows, columns, stride, false};
}

}  // namespace

MatmulOperand rows_of(const at::Tensor& matrix) { return operand(matrix, false); }
MatmulOperand columns_of(const at::Tensor& matrix) { return operand(matrix, true); }

PackedOperand::PackedOperand(const MatmulOperand& operand, MatmulSide side, MatmulPrecision precision)
    : bytes_(at::empty({kernels::matmul_packed_bytes(operand.count, operand.k, side, precision)}, at::kByte)),
      count_(operand.count),
      k_(operand.k),
      precision_(precision) {
  kernels::matmul_pack_cpu(operand, side, precision, bytes_.mutable_data_ptr<uint8_t>(), torch_parallel());
}

void multiply(const PackedOperand& a, const PackedOperand& b, float* c, int64_t c_stride, bool accumulate) {
  FATHOM_CHECK(a.k_ == b.k_ && a.precision_ == b.precision_, "operands of one product");
  kernels::matmul_cpu({.a = a.bytes_.const_data_ptr<uint8_t>(),
                       .b = b.bytes_.const_data_ptr<uint8_t>(),
                       .c = c,
                       .rows = a.count_,
                       .columns = b.count_,
                       .k = a.k_,
                       .c_stride = c_stride,
                       .accumulate = accumulate,
                       .precision = a.precision_},
                      torch_parallel());
}

}  // namespace fathom::train
