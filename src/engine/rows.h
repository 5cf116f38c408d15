// The rows of one call, and those of them that a layer runs: of one sequence after another, each sequence's
// in order of position.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "kernels/common/row_range.h"
#include "state/sequence_state.h"

namespace fathom {

struct ForwardOptions;

// What a set of rows has of one sequence: at least one row.
struct SequenceRows {
  SequenceState* state = nullptr;
  const ForwardOptions* options = nullptr;
  int64_t sequence = 0;    // its number in the call
  kernels::RowRange rows;  // of the set
  int64_t keys = 0;        // the first of them, which write keys and values
  int64_t left_behind =
      0;  // rows of the sequence in the call that came before these and are in the set no more
};

struct Rows {
  int64_t count = 0;
  const int32_t* positions = nullptr;         // [count] in their sequences
  const int32_t* rotary_positions = nullptr;  // [count]
  std::span<const SequenceRows> sequences;
  // [count] of rows that a router picked: their numbers in the set it picked from. Null: nobody picked.
  const int32_t* picked = nullptr;
};

// Room for a set of rows. Building one in place of another allocates nothing.
class RowSet {
 public:
  explicit RowSet(int64_t max_rows);

  void clear();
  // The next rows of the sequence, all of its part in the call.
  void add(SequenceState& state, const ForwardOptions& options, int64_t rows, int64_t keys);
  // The last `staying(sequence)` rows of each sequence of another set.
  void take_last(const Rows& from, FunctionRef<int64_t(const SequenceRows&)> staying);
  // Rows `picked`, [count], ascending, of another set. `picked` stays the caller's.
  void take_picked(const Rows& from, const int32_t* picked, int64_t count);

  Rows rows() const;

 private:
  void add_row(const Rows& from, int64_t row);

  std::vector<int32_t> positions_, rotary_positions_;
  std::vector<SequenceRows> sequences_;
  const int32_t* picked_ = nullptr;
};

// Moves what x, [from.count, dim], has of the rows that stayed to its front, [to.count, dim]: `to` was made
// by take_last() of `from`.
void keep_last(const Rows& from, const Rows& to, float* x, int64_t dim);

}  // namespace fathom
