// Dense matrix product on plain arrays, the products of training:
//
//   c[i, j] = scale * sum_k a[i, k] * b[j, k]   (+ c[i, j] if accumulating)
//
// All three products of a linear layer y = x W^T are of this form, since an operand may be read transposed:
//
//   y  = x W^T       a = x,    b = W
//   dx = dy W        a = dy,   b = W^T
//   dW = dy^T x      a = dy^T, b = x^T
//
// Operands are packed first, into strips as wide as the level's tile of registers; a packed operand may serve
// several products.
//
//   kF32DoubleSums  sums are double, and become float at every 512th element of k and at the end: the bits
//   are
//                   the same at every level
//   kF32            sums are float: twice as fast
//   kBF16           elements are rounded to bfloat16 when they are packed; sums are float
//
// The order of the sum over k is a function of k and, but for kF32DoubleSums, the level: an output has the
// same bits whatever the other extents and the threads.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fathom::kernels {

enum class MatmulPrecision : uint8_t { kF32DoubleSums, kF32, kBF16 };

// Which side of the product an operand is packed for: a gives the rows of c, b its columns.
enum class MatmulSide : uint8_t { kRows, kColumns };

// An operand [count, k]: element (i, k) at data[i * stride + k], or at data[k * stride + i] if transposed.
struct MatmulOperand {
  const float* data = nullptr;
  int64_t count = 0;
  int64_t k = 0;
  int64_t stride = 0;  // elements; at least k, transposed at least count
  bool transposed = false;
};

int64_t matmul_packed_bytes(int64_t count, int64_t k, MatmulSide side, MatmulPrecision precision);

// `packed` holds matmul_packed_bytes() and may have any alignment. Its contents depend on the level in force.
void matmul_pack_cpu(const MatmulOperand& operand, MatmulSide side, MatmulPrecision precision, void* packed,
                     Parallel& parallel);

struct Matmul {
  const void* a = nullptr;  // packed for kRows, [rows, k]
  const void* b = nullptr;  // packed for kColumns, [columns, k]
  float* c = nullptr;       // [rows, columns], rows c_stride apart
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t k = 0;
  int64_t c_stride = 0;  // elements; >= columns
  float scale = 1;
  bool accumulate = false;  // add to c instead of overwriting it
  MatmulPrecision precision = MatmulPrecision::kF32DoubleSums;
};
void matmul_cpu(const Matmul& args, Parallel& parallel);

// The same from unpacked operands, in double.
struct MatmulRef {
  MatmulOperand a, b;
  float* c = nullptr;
  int64_t c_stride = 0;
  float scale = 1;
  bool accumulate = false;
  MatmulPrecision precision = MatmulPrecision::kF32DoubleSums;
};
void matmul_ref(const MatmulRef& args);

}  // namespace fathom::kernels
