// The paper's dead tokens: places in a row from which no token ever makes the last pass
// (Mixture-of-Recursions, 3.4).
#pragma once

#include <algorithm>
#include <vector>

#include "train/executor.h"

namespace fathom::train {

// Places in a row from which some token made the last pass.
class LivePlaces {
 public:
  explicit LivePlaces(size_t passes) : passes_(passes) {}
  void note(const Batch& batch, const ForwardResult& result) {
    size_t longest = alive_.size();
    for (const RowRange& rows : batch.sequences)
      longest = std::max(longest, static_cast<size_t>(rows.size()));
    alive_.resize(longest);
    if (result.passes.size() < passes_) return;
    size_t s = 0;
    for (int32_t row : result.passes.back().kept) {
      while (row >= batch.sequences[s].end) ++s;
      alive_[static_cast<size_t>(row - batch.sequences[s].begin)] = true;
    }
  }
  double dead_share() const {
    return alive_.empty()
               ? 0
               : static_cast<double>(std::ranges::count(alive_, false)) / static_cast<double>(alive_.size());
  }

 private:
  size_t passes_;
  std::vector<bool> alive_;
};

}  // namespace fathom::train
