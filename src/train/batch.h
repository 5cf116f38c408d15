// One micro-batch of ragged rows: sequences one after another, without padding.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/common/row_range.h"

namespace fathom::train {

struct Batch {
  std::vector<int32_t> ids;        // [rows]
  std::vector<int32_t> positions;  // [rows], ascending in each sequence
  std::vector<int32_t> labels;     // [rows], the token to be predicted, -100 where none
  std::vector<kernels::RowRange> sequences;
  // Rows of each sequence that write keys, from its first; empty: all (see ForwardOptions::key_rows of the
  // engine).
  std::vector<int64_t> key_rows;

  int64_t rows() const { return static_cast<int64_t>(ids.size()); }

  // Appends a sequence at positions first, first + 1, ...: 0, or where it stands in a row of several.
  void add(const std::vector<int32_t>& tokens, const std::vector<int32_t>& token_labels, int32_t first = 0) {
    const int64_t begin = rows();
    for (size_t t = 0; t < tokens.size(); ++t) positions.push_back(first + static_cast<int32_t>(t));
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    labels.insert(labels.end(), token_labels.begin(), token_labels.end());
    sequences.push_back({begin, rows()});
  }
};

}  // namespace fathom::train
