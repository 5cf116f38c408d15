// What the sequences of a ragged batch come to together.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/extents.h"
#include "kernels/common/row_range.h"

namespace fathom::kernels {

// One past the last row of any sequence: what row-indexed arrays cover.
inline int64_t rows_end(const RowRange* sequences, int64_t num_sequences) {
  int64_t end = 0;
  for (int64_t s = 0; s < num_sequences; ++s) end = std::max(end, sequences[s].end);
  return end;
}

// Pieces of `size` rows that the sequences are cut into, each from its own start.
inline int64_t row_pieces(const RowRange* sequences, int64_t num_sequences, int64_t size) {
  int64_t pieces = 0;
  for (int64_t s = 0; s < num_sequences; ++s) pieces += ceil_div(sequences[s].size(), size);
  return pieces;
}

// From the first row of any sequence to the last; of structs with their RowRange in `rows`, at least one.
template <class Sequence>
RowRange rows_spanned(const Sequence* sequences, int64_t num_sequences) {
  RowRange all = sequences[0].rows;
  for (int64_t s = 1; s < num_sequences; ++s) {
    all.begin = std::min(all.begin, sequences[s].rows.begin);
    all.end = std::max(all.end, sequences[s].rows.end);
  }
  return all;
}

}  // namespace fathom::kernels
