// Rows of several sources in fixed proportions. Which source gives the next row follows from how many rows
// each has given, so that the whole state is a place in each source.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/row_iterator.h"

namespace fathom {

struct MixtureSource {
  std::string name;   // in messages and logs
  double weight = 1;  // above 0; its share is weight / sum of weights
  RowIterator rows;
};

struct MixtureRow {
  int32_t source = 0;
  int64_t row = 0;
  friend bool operator==(const MixtureRow&, const MixtureRow&) = default;
};

struct MixtureState {
  std::vector<IterationState> sources;
  std::vector<double> shares;  // of each source
  friend bool operator==(const MixtureState&, const MixtureState&) = default;
};

// A single source is written as its own state, several as a list.
nlohmann::json to_json(const MixtureState& state);
Result<MixtureState> mixture_state_from_json(const nlohmann::json& json);

class RowMixture {
 public:
  // At least one source. Error if a weight is not a positive number.
  static Result<RowMixture> create(std::vector<MixtureSource> sources);

  // After n rows each source of k has given its share of n to within 1 - 1 / (2k - 2) rows, whatever n is:
  // the best that is possible (Tijdeman, "The chairman assignment problem", 1980). The rows of a source come
  // in its own order, epoch after epoch.
  MixtureRow next();
  std::vector<MixtureRow> next_batch(int64_t count);

  size_t size() const { return sources_.size(); }
  const MixtureSource& source(size_t index) const { return sources_[index]; }
  int64_t rows_given(size_t source) const { return given_[source]; }

  MixtureState state() const;
  // Continues exactly where `state` was taken. Refused, naming what differs, if sources, shares, orders or
  // data are not the same; and if all sources together have given more than kMostRowsGiven rows.
  Status restore(const MixtureState& state);

 private:
  explicit RowMixture(std::vector<MixtureSource> sources);
  size_t next_source() const;
  std::vector<MixtureSource> sources_;
  std::vector<double> shares_;
  std::vector<int64_t> given_;
};

}  // namespace fathom
