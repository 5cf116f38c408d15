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

// The rows of what a batch is given as: their ranges, or structs with their RowRange in `rows`.
inline RowRange rows_of(RowRange sequence) { return sequence; }
template <class Sequence>
RowRange rows_of(const Sequence& sequence) {
  return sequence.rows;
}

// Pieces of `size` rows that the sequences are cut into, each from its own start.
template <class Sequence>
int64_t row_pieces(const Sequence* sequences, int64_t num_sequences, int64_t size) {
  int64_t pieces = 0;
  for (int64_t s = 0; s < num_sequences; ++s) pieces += ceil_div(rows_of(sequences[s]).size(), size);
  return pieces;
}

// The piece of that number, sequence by sequence.
template <class Sequence>
RowRange row_piece(const Sequence* sequences, int64_t num_sequences, int64_t size, int64_t piece) {
  for (int64_t s = 0; s < num_sequences; ++s) {
    const RowRange rows = rows_of(sequences[s]);
    const int64_t pieces = ceil_div(rows.size(), size);
    if (piece < pieces)
      return {rows.begin + piece * size, std::min(rows.end, rows.begin + (piece + 1) * size)};
    piece -= pieces;
  }
  return {};
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
