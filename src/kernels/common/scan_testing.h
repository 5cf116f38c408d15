// What the tests of the ops that carry a state from row to row have in common.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/common/row_range.h"
#include "kernels/common/testing.h"

namespace fathom::kernels::testing {

// Calls piece(rows, s) for pieces of one to `longest` rows that together are sequence s, for every s, in
// order. The cuts follow from `seed` and `stream`.
template <class Piece>
void in_random_pieces(std::span<const RowRange> sequences, int64_t longest, uint64_t seed, uint64_t stream,
                      const Piece& piece) {
  RandomStream random(seed, stream);
  for (size_t s = 0; s < sequences.size(); ++s) {
    for (int64_t from = sequences[s].begin; from < sequences[s].end;) {
      const auto length = 1 + static_cast<int64_t>(random.next_uniform() * static_cast<double>(longest));
      const RowRange rows{from, std::min(from + length, sequences[s].end)};
      piece(rows, s);
      from = rows.end;
    }
  }
}

// That `gradient` is the one of log(-a), by which these ops are trained; `loss` reads `a`.
template <class Loss>
void expect_gradient_of_log(Buffer& a, const Buffer& gradient, const Loss& loss) {
  Buffer a_log(a.size());
  for (int64_t i = 0; i < a_log.size(); ++i) a_log[i] = std::log(-a[i]);
  expect_gradient(a_log, gradient, [&] {
    for (int64_t i = 0; i < a_log.size(); ++i) a[i] = -std::exp(a_log[i]);
    return loss();
  });
}

// Decays that leave nothing of a state: delta is softplus(1), and a is far below zero.
inline void forget_everything(Buffer& a, Buffer& dt, Buffer& dt_bias) {
  for (int64_t i = 0; i < a.size(); ++i) a[i] = -1e6F;
  for (int64_t i = 0; i < dt.size(); ++i) dt[i] = 1.0F;
  for (int64_t i = 0; i < dt_bias.size(); ++i) dt_bias[i] = 0.0F;
}

}  // namespace fathom::kernels::testing
