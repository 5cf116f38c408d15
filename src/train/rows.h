// The rows that a layer works on in training: all of a batch, or those that a router kept.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "train/batch.h"
#include "train/ops.h"

namespace fathom::train {

struct Rows {
  std::shared_ptr<const std::vector<int32_t>> positions;
  std::vector<int32_t> places;  // index of each row in its sequence, counted over the whole batch's rows
  std::vector<RowRange> sequences;
  std::vector<int64_t> keys;  // rows of each sequence that write keys
  int64_t count() const { return static_cast<int64_t>(places.size()); }
};

Rows all_rows(const Batch& batch);
// The subset `kept` (indices into rows, ascending).
Rows subset(const Rows& rows, const std::vector<int32_t>& kept);

// The keys that `queries` attend among `keys`: own ones end with the row itself; another list holds every
// place of the sequence.
std::shared_ptr<const AttentionRows> attention_rows(const Rows& queries, const Rows& keys, int64_t window,
                                                    bool own);

// Where each row of `some` stands in `all`, which holds every place of the sequences.
std::vector<int32_t> rows_of(const Rows& some, const Rows& all);

// Where the rows of `some` that write keys stand: in `some`, and in `all`, which holds every place of the
// sequences.
struct SharedRows {
  std::vector<int32_t> in_some, in_all;
};
SharedRows rows_with_keys(const Rows& some, const Rows& all);

}  // namespace fathom::train
