#include <string>

#include "base/check.h"
#include "kernels/rope/rope_levels.h"

namespace fathom::kernels {

void rope_fwd_cpu(const RopeFwd& args, Parallel& parallel) {
  FATHOM_CHECK(args.head_dim % 2 == 0, "head_dim " + std::to_string(args.head_dim) + " is odd");
  for (int64_t r = 0; r < args.rows; ++r) {
    FATHOM_CHECK(args.positions[r] >= 0 && args.positions[r] < args.table_positions,
                 "position " + std::to_string(args.positions[r]) + ", the rotary table has " +
                     std::to_string(args.table_positions));
  }
  const auto rows_fn = FATHOM_SIMD_SELECT(rope_fwd_rows);
  parallel.run(args.rows, 16, [&](int64_t begin, int64_t end, int) { rows_fn(args, begin, end); });
}

}  // namespace fathom::kernels
