// The pieces of matmul that are compiled once per instruction-set level.
//
// A packed operand is a row of strips, each as wide as the tile: for every step of k in turn, the elements of
// the strip's indices, of which the last strip's missing ones are zero. A step is one k, or two neighbours
// for pairs.
#pragma once

#include "kernels/matmul/matmul.h"
#include "kernels/simd/dispatch.h"

namespace fathom::kernels {

// What a packed operand has of an index at a step.
enum class MatmulElement : uint8_t {
  kFloat,
  kDouble,   // the float as a double: converted once, where it is broadcast many times
  kRounded,  // a float that was rounded to bfloat16
  kPair,     // two bfloat16, the even k in the low half; an odd count of k ends with zero
};
constexpr int64_t bytes_of(MatmulElement element) { return element == MatmulElement::kDouble ? 8 : 4; }
constexpr int64_t steps_of(MatmulElement element, int64_t k) {
  return element == MatmulElement::kPair ? k / 2 + k % 2 : k;
}

struct MatmulLayout {
  int64_t rows, columns;  // of a tile: the widths of the strips of a and b
  MatmulElement a, b;
};

struct MatmulPack {
  MatmulOperand operand;
  MatmulSide side;
  MatmulPrecision precision;
  void* packed;
};

// Strips [strip_begin, strip_end) of c's rows by strips of its columns, over steps [begin, end) of k.
struct MatmulBlock {
  int64_t row_begin, row_end;        // strips of a
  int64_t column_begin, column_end;  // strips of b
  int64_t begin, end;
};

FATHOM_SIMD_DECLARE(MatmulLayout, matmul_layout, (MatmulPrecision precision))
// Strips [begin, end) of an operand whose k are contiguous, steps [begin, end) of a transposed one.
FATHOM_SIMD_DECLARE(void, matmul_pack, (const MatmulPack& args, int64_t begin, int64_t end))
FATHOM_SIMD_DECLARE(void, matmul_block, (const Matmul& args, const MatmulBlock& block))

}  // namespace fathom::kernels
