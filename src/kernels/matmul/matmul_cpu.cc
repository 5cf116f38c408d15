#include <algorithm>

#include "base/check.h"
#include "base/extents.h"
#include "kernels/matmul/matmul_levels.h"

namespace fathom::kernels {

namespace {

// Steps of k (elements or pairs) in a block: a strip of b, 64 KB of it at most, meets all strips of a group
// of rows, and those stay in the second-level cache. One number for all levels, since it shows in the bits.
constexpr int64_t kBlockSteps = 512;
constexpr int64_t kRowBlockBytes = 256 * 1024;

MatmulLayout layout_of(MatmulPrecision precision) { return FATHOM_SIMD_SELECT(matmul_layout)(precision); }

}  // namespace

int64_t matmul_packed_bytes(int64_t count, int64_t k, MatmulSide side, MatmulPrecision precision) {
  const MatmulLayout layout = layout_of(precision);
  const bool rows = side == MatmulSide::kRows;
  const MatmulElement element = rows ? layout.a : layout.b;
  return round_up(count, rows ? layout.rows : layout.columns) * steps_of(element, k) * bytes_of(element);
}

void matmul_pack_cpu(const MatmulOperand& operand, MatmulSide side, MatmulPrecision precision, void* packed,
                     Parallel& parallel) {
  FATHOM_CHECK(operand.stride >= (operand.transposed ? operand.count : operand.k), "rows overlap");
  const MatmulLayout layout = layout_of(precision);
  const MatmulPack args = {.operand = operand, .side = side, .precision = precision, .packed = packed};
  const auto pack_fn = FATHOM_SIMD_SELECT(matmul_pack);
  const int64_t width = side == MatmulSide::kRows ? layout.rows : layout.columns;
  const int64_t pieces = operand.transposed ? steps_of(layout.a, operand.k) : ceil_div(operand.count, width);
  parallel.run(pieces, operand.transposed ? 8 : 1,
               [&](int64_t begin, int64_t end, int) { pack_fn(args, begin, end); });
}

void matmul_cpu(const Matmul& args, Parallel& parallel) {
  FATHOM_CHECK(args.c_stride >= args.columns, "rows of c overlap");
  const MatmulLayout layout = layout_of(args.precision);
  const auto block_fn = FATHOM_SIMD_SELECT(matmul_block);
  const int64_t steps = steps_of(layout.a, args.k);
  // Blocks of k of one size, found from k alone: they show in the order of sums. No k at all is one block.
  const int64_t blocks = std::max<int64_t>(1, ceil_div(steps, kBlockSteps));
  const int64_t step = ceil_div(steps, blocks);
  const int64_t row_strips = ceil_div(args.rows, layout.rows);
  const int64_t column_strips = ceil_div(args.columns, layout.columns);
  const int64_t largest_group =
      std::max<int64_t>(1, kRowBlockBytes / (std::max<int64_t>(1, step) * layout.rows * bytes_of(layout.a)));
  // Groups of about one size, for a strip of columns is one piece of work whatever the group.
  const int64_t groups = ceil_div(row_strips, largest_group);
  const int64_t group = ceil_div(row_strips, std::max<int64_t>(1, groups));
  // Work is shared out as strips of columns of every group of rows, numbered group by group.
  parallel.run(groups * column_strips, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end;) {
      const int64_t g = at / column_strips;
      const int64_t until = std::min(end, (g + 1) * column_strips);
      for (int64_t b = 0; b < blocks; ++b) {
        block_fn(args, {.row_begin = g * group,
                        .row_end = std::min(row_strips, (g + 1) * group),
                        .column_begin = at - g * column_strips,
                        .column_end = until - g * column_strips,
                        .begin = b * step,
                        .end = std::min(steps, (b + 1) * step)});
      }
      at = until;
    }
  });
}

}  // namespace fathom::kernels
