// Rows [begin, end) of a ragged batch: the rows of one sequence lie together, in order of position.
#pragma once

#include <cstdint>

namespace fathom::kernels {

struct RowRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

}  // namespace fathom::kernels
