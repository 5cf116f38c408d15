#include "base/check.h"
#include "kernels/adapted_norms/adapted_norms_levels.h"

namespace fathom::kernels {

void adapted_norms_fwd_cpu(const AdaptedNorms& args, Parallel& parallel) {
  FATHOM_CHECK(args.type == DType::kF32 || args.type == DType::kBF16, "matrices are f32 or bf16");
  const auto rows_fn = FATHOM_SIMD_SELECT(adapted_norms_rows);
  parallel.run(args.out, 16, [&](int64_t begin, int64_t end, int) { rows_fn(args, begin, end); });
}

}  // namespace fathom::kernels
