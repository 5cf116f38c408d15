// The pieces of matmul that are compiled once per instruction-set level.
//
// A packed operand is a row of strips. A strip holds `width` indices of the operand (the last one padded with
// zeros) for every k: element (i, k) at strip[k * width + i] as float, or, in pairs, two neighbours in k as
// one 32-bit word of two bfloat16 at strip[k / 2 * width + i], the even one in the low half; an odd k is
// padded with zero.
#pragma once

#include "kernels/matmul/matmul.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

struct MatmulLayout {
  int64_t rows, columns;  // of a tile: the widths of the strips of a and b
  bool pairs;
};

struct MatmulPack {
  MatmulOperand operand;
  void* packed;
  int64_t width;
  bool pairs;  // else floats
  bool round;  // floats rounded to bfloat16
};

// Strips [strip_begin, strip_end) of c's rows by strips of its columns, over steps [begin, end) of k (pairs
// or single elements).
struct MatmulBlock {
  int64_t row_begin, row_end;        // strips of a
  int64_t column_begin, column_end;  // strips of b
  int64_t begin, end;
};

FATHOM_SIMD_DECLARE(MatmulLayout, matmul_layout, (bool bf16))
// k contiguous: strips [begin, end). Transposed: steps [begin, end).
FATHOM_SIMD_DECLARE(void, matmul_pack_strips, (const MatmulPack& args, int64_t begin, int64_t end))
FATHOM_SIMD_DECLARE(void, matmul_pack_steps, (const MatmulPack& args, int64_t begin, int64_t end))
FATHOM_SIMD_DECLARE(void, matmul_block, (const Matmul& args, const MatmulBlock& block))

}  // namespace fathom::kernels
