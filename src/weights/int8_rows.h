// Matrices as int8: a row is whole numbers of 8 bits times one float,
//
//   w[o, i] ~ scale[o] * q[o, i],  scale[o] = max_i |w[o, i]| / 127,  q = round(w / scale),
//
// symmetric, so that zero stays zero and a product needs no correction.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace fathom {

// Writes q of one row, [row.size()], and returns its scale; NaN, with q of zeros, where a value is not
// finite.
float quantise_row(std::span<const float> row, int8_t* q);

// Rows of `columns` values as `type` (kF32, kBF16, kI8 or kI4) at `to`; of int8 their scales at `scales`,
// [rows]; of int4 the words of their groups (base/int4.h) at `words`, [rows, groups]. The number of the first
// row that the type cannot hold, such as one with a value that is not finite; -1 if there is none.
int64_t store_rows(std::span<const float> values, int64_t columns, DType type, void* to, float* scales,
                   int64_t group = 0, uint16_t* words = nullptr);

}  // namespace fathom
