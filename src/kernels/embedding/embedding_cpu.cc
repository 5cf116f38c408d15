#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/half.h"
#include "kernels/embedding/embedding.h"

namespace fathom::kernels {

namespace {

void check_ids(const int32_t* ids, int64_t rows, int64_t vocab) {
  for (int64_t r = 0; r < rows; ++r) {
    FATHOM_CHECK(ids[r] >= 0 && ids[r] < vocab, "token id " + std::to_string(ids[r]) + " in row " +
                                                    std::to_string(r) + ", expected 0 to " +
                                                    std::to_string(vocab - 1));
  }
}

}  // namespace

void embedding_fwd_cpu(const EmbeddingFwd& args, Parallel& parallel) {
  check_ids(args.ids, args.rows, args.vocab);
  parallel.run(args.rows, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t entry = args.ids[r] * args.dim;
      float* y = args.y + r * args.dim;
      if (args.table_type == DType::kF32) {
        std::memcpy(y, static_cast<const float*>(args.table) + entry,
                    static_cast<size_t>(args.dim) * sizeof(float));
      } else if (args.table_type == DType::kI8) {
        const int8_t* from = static_cast<const int8_t*>(args.table) + entry;
        const float scale = args.table_scale[args.ids[r]];
        for (int64_t d = 0; d < args.dim; ++d) y[d] = scale * static_cast<float>(from[d]);
      } else {
        const BFloat16* from = static_cast<const BFloat16*>(args.table) + entry;
        for (int64_t d = 0; d < args.dim; ++d) y[d] = to_float(from[d]);
      }
    }
  });
}

// Parallel over columns: every thread walks all rows in order, so each sum has one order.
void embedding_bwd_cpu(const EmbeddingBwd& args, Parallel& parallel) {
  check_ids(args.ids, args.rows, args.vocab);
  parallel.run(args.dim, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t v = 0; v < args.vocab && !args.accumulate; ++v) {
      std::fill(args.grad_table + v * args.dim + begin, args.grad_table + v * args.dim + end, 0.0F);
    }
    for (int64_t r = 0; r < args.rows; ++r) {
      float* grad = args.grad_table + args.ids[r] * args.dim;
      const float* from = args.grad_y + r * args.dim;
      for (int64_t d = begin; d < end; ++d) grad[d] += from[d];
    }
  });
}

}  // namespace fathom::kernels
