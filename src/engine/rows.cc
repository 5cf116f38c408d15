#include "engine/rows.h"

#include <algorithm>

#include "base/check.h"

namespace fathom {

RowSet::RowSet(int64_t max_rows) {
  const auto most = static_cast<size_t>(max_rows);
  positions_.reserve(most);
  rotary_positions_.reserve(most);
  sequences_.reserve(most);
}

void RowSet::clear() {
  positions_.clear();
  rotary_positions_.clear();
  sequences_.clear();
  picked_ = nullptr;
}

void RowSet::add(SequenceState& state, const ForwardOptions& options, int64_t rows, int64_t keys) {
  const auto begin = static_cast<int64_t>(positions_.size());
  sequences_.push_back(
      {&state, &options, static_cast<int64_t>(sequences_.size()), {begin, begin + rows}, keys, 0});
  for (int64_t r = 0; r < rows; ++r) {
    positions_.push_back(static_cast<int32_t>(state.position() + r));
    rotary_positions_.push_back(static_cast<int32_t>(state.first_position() + state.position() + r));
  }
}

void RowSet::add_row(const Rows& from, int64_t row) {
  positions_.push_back(from.positions[row]);
  rotary_positions_.push_back(from.rotary_positions[row]);
}

void RowSet::take_last(const Rows& from, FunctionRef<int64_t(const SequenceRows&)> staying) {
  clear();
  for (const SequenceRows& s : from.sequences) {
    const int64_t size = s.rows.size(), count = std::min(size, staying(s)), leaving = size - count;
    if (count == 0) continue;
    const auto begin = static_cast<int64_t>(positions_.size());
    sequences_.push_back({s.state,
                          s.options,
                          s.sequence,
                          {begin, begin + count},
                          std::max<int64_t>(0, s.keys - leaving),
                          s.left_behind + leaving});
    for (int64_t r = s.rows.begin + leaving; r < s.rows.end; ++r) add_row(from, r);
  }
}

void RowSet::take_picked(const Rows& from, const int32_t* picked, int64_t count) {
  clear();
  picked_ = picked;
  int64_t i = 0;
  for (const SequenceRows& s : from.sequences) {
    SequenceRows own{s.state, s.options, s.sequence, {i, i}, 0, s.left_behind};
    for (; i < count && picked[i] < s.rows.end; ++i) {
      add_row(from, picked[i]);
      own.keys += picked[i] - s.rows.begin < s.keys ? 1 : 0;
      ++own.rows.end;
    }
    if (own.rows.size() > 0) sequences_.push_back(own);
  }
}

Rows RowSet::rows() const {
  return {.count = static_cast<int64_t>(positions_.size()),
          .positions = positions_.data(),
          .rotary_positions = rotary_positions_.data(),
          .sequences = sequences_,
          .picked = picked_};
}

void keep_last(const Rows& from, const Rows& to, float* x, int64_t dim) {
  if (to.count == from.count) return;
  auto source = from.sequences.begin();
  for (const SequenceRows& s : to.sequences) {
    while (source->sequence != s.sequence) ++source;
    const float* const kept = x + (source->rows.end - s.rows.size()) * dim;
    std::copy(kept, kept + s.rows.size() * dim, x + s.rows.begin * dim);  // never later than it was
  }
}

}  // namespace fathom
