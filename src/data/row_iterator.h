// Walks rows in their order, epoch after epoch, and can stop and go on at any row.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/row_order.h"

namespace fathom {

// Where an iteration stands, with what it takes to notice that it is resumed on something else.
struct IterationState {
  int64_t epoch = 0;
  int64_t position = 0;  // in the epoch; the next row to be given
  int64_t rows = 0;
  OrderKind kind = OrderKind::kShuffled;
  uint64_t seed = 0;
  int64_t multiplier = 1, offset = 0;
  std::string order_hash;  // of the list of an explicit order, else empty
  std::string data;        // fingerprint of the data, see TokenStream::fingerprint()

  friend bool operator==(const IterationState&, const IterationState&) = default;
};

// What an iteration, or a mixture of them, may have given. A saved state that says more is refused: in rows
// of 2048 tokens it would be 9e12 tokens; the permutations of file groups, all of which are drawn again to go
// on, would take minutes; and shares of a mixture would not be exact to the rounding that it allows for.
constexpr int64_t kMostRowsGiven = int64_t{1} << 32;

nlohmann::json to_json(const IterationState& state);
Result<IterationState> iteration_state_from_json(const nlohmann::json& json);

class RowIterator {
 public:
  // `data` is any string that identifies the rows.
  RowIterator(RowOrder order, std::string data) : order_(std::move(order)), data_(std::move(data)) {}

  int64_t next();
  // The next `count` rows; a batch may run over the end of an epoch into the next.
  std::vector<int64_t> next_batch(int64_t count);

  int64_t epoch() const { return epoch_; }
  int64_t position() const { return position_; }
  // Rows given since the beginning of the first epoch.
  int64_t given() const { return epoch_ * order_.epoch_length() + position_; }
  IterationState state() const;
  // Continues exactly where `state` was taken. Refused, naming what differs, if it belongs to another order,
  // another number of rows or other data; and if it says that more than kMostRowsGiven rows were given, or
  // that many groups of files permuted.
  Status restore(const IterationState& state);

 private:
  RowOrder order_;
  std::string data_;
  int64_t epoch_ = 0, position_ = 0;
};

}  // namespace fathom
