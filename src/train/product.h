// Matrix products between LibTorch's tensors by kernels/matmul: packed operands that own their bytes.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/matmul/matmul.h"
#include "train/precision.h"

namespace fathom::train {

using kernels::MatmulOperand;
using kernels::MatmulPrecision;
using kernels::MatmulSide;

// Of products whose results are computed with further: outputs, logits, gradients of inputs.
inline MatmulPrecision product_precision(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return MatmulPrecision::kF32;
    case Precision::kF32DoubleSums:
      return MatmulPrecision::kF32DoubleSums;
    case Precision::kBF16:
      break;
  }
  return MatmulPrecision::kBF16;
}
// Of gradients of weights, where a rounding error ends.
inline MatmulPrecision weight_gradient_precision(Precision precision) {
  return precision == Precision::kBF16 ? MatmulPrecision::kBF16 : MatmulPrecision::kF32;
}

// A float matrix with contiguous rows as an operand: its rows, or its columns, against the other dimension.
MatmulOperand rows_of(const at::Tensor& matrix);
MatmulOperand columns_of(const at::Tensor& matrix);

class PackedOperand {
 public:
  PackedOperand() = default;
  PackedOperand(const MatmulOperand& operand, MatmulSide side, MatmulPrecision precision);
  bool defined() const { return bytes_.defined(); }

 private:
  friend void multiply(const PackedOperand&, const PackedOperand&, float*, int64_t, bool);
  at::Tensor bytes_;
  int64_t count_ = 0, k_ = 0;
  MatmulPrecision precision_ = MatmulPrecision::kF32DoubleSums;
};

// c [a's count, b's count], rows c_stride apart, is overwritten or added to. a is packed for rows, b for
// columns.
void multiply(const PackedOperand& a, const PackedOperand& b, float* c, int64_t c_stride, bool accumulate);

}  // namespace fathom::train
